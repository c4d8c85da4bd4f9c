/* Clock, sync and the end of the guest. @source clock_settime(2), reboot(2), systemd(1) "SIGNALS" */
#include "agent.h"

enum { LOOK_MS = 10, KILLED_MS = 500, NANOSECONDS = 1000000000, SIGUSR2 = 12 };

void run_clock(struct reader *request) {
  struct timespec now;
  now.seconds = (i64)get_u64(request);
  now.nanoseconds = get_u32(request);
  if (request->bad || now.nanoseconds >= NANOSECONDS) return send_bad_request();
  if (agent_role == ROLE_TEST) return send_result(-EPERM, "the clock");
  send_result(SYS2(NR_clock_settime, CLOCK_REALTIME, &now), "the clock");
}

void run_sync(struct reader *request) {
  if (request->bad) return send_bad_request();
  SYS0(NR_sync);
  send_done();
}

/* Processes with memory of their own (kernel threads have no command line) beside the agent. */
static int others_live(void) {
  static u8 entries[16 << 10] __attribute__((aligned(8)));
  i64 directory = open_file("/proc", O_RDONLY | O_DIRECTORY, 0);
  i64 own = SYS0(NR_getpid), got;
  int found = 0;
  if (directory < 0) return 0;
  while ((got = SYS3(NR_getdents64, directory, entries, sizeof entries)) > 0)
    for (i64 at = 0; at < got; at += ((struct dirent64 *)(entries + at))->reclen) {
      const char *name = ((struct dirent64 *)(entries + at))->name;
      char path[64] = "/proc/", line[2];
      u64 pid;
      if (!parse_number(name, &pid) || pid == 1 || pid == (u64)own) continue;
      append(path, sizeof path, name);
      append(path, sizeof path, "/cmdline");
      if (read_file(path, line, sizeof line) > 0) found = 1;
    }
  close_file((int)directory);
  return found;
}

static void wait_for_others(u64 ms) {
  for (u64 waited = 0; waited < ms && others_live(); waited += LOOK_MS) pause_ms(LOOK_MS);
}

/* Asks the init of the image. @returns did it understand */
static int ask_init(int reboot) {
  char name[32] = "", path[256] = "";
  i64 length = read_file("/proc/1/comm", name, sizeof name);
  if (length > 0 && name[length - 1] == '\n') name[length - 1] = 0;
  if (same(name, "systemd")) return SYS2(NR_kill, 1, SIGRTMIN + (reboot ? 5 : 4)) == 0;
  SYS3(NR_readlink, "/proc/1/exe", path, sizeof path - 1);
  u64 end = length_of(path);
  if (end >= 7 && same(path + end - 7, "busybox")) return SYS2(NR_kill, 1, reboot ? SIGTERM : SIGUSR2) == 0;
  return 0;
}

void run_power(struct reader *request) {
  int reboot = get_u8(request);
  u32 grace_ms = get_u32(request);
  if (request->bad) return send_bad_request();
  if (agent_role == ROLE_TEST) return send_result(-EPERM, "power");
  send_done();
  if (agent_role == ROLE_BESIDE_INIT && ask_init(reboot)) pause_ms(grace_ms);
  SYS2(NR_kill, -1, SIGTERM);
  SYS2(NR_kill, -1, SIGHUP);
  wait_for_others(grace_ms);
  SYS2(NR_kill, -1, SIGKILL);
  wait_for_others(KILLED_MS);
  SYS0(NR_sync);
  SYS5(NR_mount, NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
  SYS4(NR_reboot, REBOOT_MAGIC1, REBOOT_MAGIC2, reboot ? REBOOT_RESTART : REBOOT_POWER_OFF, NULL);
}
