/* Clock, sync, a root that holds still, and the end of the guest. @source clock_settime(2), ioctl_fsfreeze in Linux include/uapi/linux/fs.h, reboot(2), systemd(1)
 * "SIGNALS" */
#include "agent.h"

enum { LOOK_MS = 10, KILLED_MS = 500, NANOSECONDS = 1000000000, SIGUSR2 = 12 };
#define FIFREEZE 0xc0045877
#define FITHAW 0xc0045878

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

/* The root's file system holds still, on its disk as after an unmount, until the host has what it wants or is gone. */
void run_freeze(struct reader *request) {
  if (request->bad) return send_bad_request();
  if (agent_role == ROLE_TEST) return send_result(-EPERM, "/");
  i64 root = open_file("/", O_RDONLY | O_DIRECTORY, 0);
  i64 result = root < 0 ? root : SYS3(NR_ioctl, root, FIFREEZE, 0);
  if (result < 0) return send_result(result, "/");
  frame_begin(OUT_STARTED);
  frame_end();
  /* Whatever it says: one frame, or the end. */
  if (connection_flush()) frame_wait();
  send_result(SYS3(NR_ioctl, root, FITHAW, 0), "/");
}

/* After the death of a worker that may have held it. Otherwise this is an error that nobody minds. */
void thaw_root(void) {
  i64 root = agent_role == ROLE_TEST ? -EPERM : open_file("/", O_RDONLY | O_DIRECTORY, 0);
  if (root < 0) return;
  SYS3(NR_ioctl, root, FITHAW, 0);
  close_file((int)root);
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

/* "\\040" stands for a space in /proc/mounts. */
static void decode_octal(char *text) {
  char *to = text;
  for (; *text; text++) {
    if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' && text[2] <= '7' && text[3] >= '0' && text[3] <= '7') {
      *to++ = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
      text += 3;
    } else *to++ = *text;
  }
  *to = 0;
}

/* File systems on disks become read-only: what is in their journals is then where it belongs. */
static void settle_disks(void) {
  static char mounts[256 << 10];
  char *line = mounts;
  SYS0(NR_sync);
  if (read_file("/proc/mounts", mounts, sizeof mounts) <= 0) append(mounts, sizeof mounts, "/dev/root / ");
  while (line != NULL && *line) {
    char *next = (char *)find_char(line, '\n');
    if (next != NULL) *next++ = 0;
    char *place = (char *)find_char(line, ' ');
    char *end = place == NULL ? NULL : (char *)find_char(place + 1, ' ');
    if (starts_with(line, "/dev/") && end != NULL) {
      *end = 0;
      decode_octal(place + 1);
      SYS5(NR_mount, NULL, place + 1, NULL, MS_REMOUNT | MS_RDONLY, NULL);
    }
    line = next;
  }
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
  wait_for_others(grace_ms / 2);
  /* Interactive shells pass over SIGTERM. */
  SYS2(NR_kill, -1, SIGHUP);
  wait_for_others(grace_ms / 2);
  SYS2(NR_kill, -1, SIGKILL);
  wait_for_others(KILLED_MS);
  settle_disks();
  SYS4(NR_reboot, REBOOT_MAGIC1, REBOOT_MAGIC2, reboot ? REBOOT_RESTART : REBOOT_POWER_OFF, NULL);
}
