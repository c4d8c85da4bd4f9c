/* The start of the guest: modules, root disk, system mounts, names; then the host is told that the agent is ready. Each step costs time before the
 * first command runs, so nothing is waited for that need not be. @source docs/agent.md "Start" */
#include "agent.h"
#include "config.h"
#include "mounts.h"
#include "network.h"

enum { ROOT_WAIT_MS = 10000 };

/* When the agent started, had loaded its modules, had entered the root and was ready: what the host learns with the greeting. */
static u64 started_us, loaded_us, entered_us;

static void pause_ms(u64 ms) {
  struct timespec time = {(i64)(ms / 1000), (i64)(ms % 1000) * 1000000};
  SYS2(NR_nanosleep, &time, NULL);
}

/* An init that ends is a panic, which ends the machine (the kernel's command line says panic=-1); its words are the last on the serial port. */
static void give_up(const char *what, const char *name, i64 error) {
  log_errno(what, name, error);
  exit_process(1);
}

void load_modules(const char *word) {
  struct config_line line = {.next = NULL};
  while (config_next(&line, word)) {
    char path[256] = "/mere/modules/";
    append(path, sizeof path, line.fields[0]);
    append(path, sizeof path, ".ko");
    i64 fd = open_file(path, O_RDONLY, 0);
    i64 result = fd < 0 ? fd : SYS3(NR_finit_module, fd, "", 0);
    if (fd >= 0) close_file((int)fd);
    if (result < 0 && result != -EEXIST) log_errno("cannot load the module ", line.fields[0], result);
    SYS1(NR_unlink, path);
  }
}

/* The device appears when its driver has looked at it. */
static void mount_root(void) {
  struct config_line line = {.next = NULL};
  if (!config_next(&line, "root")) give_up("the configuration names no root", "", -EINVAL);
  u64 flags = same(line.fields[2], "ro") ? MS_RDONLY : 0;
  u64 until = monotonic_ms() + ROOT_WAIT_MS;
  for (;;) {
    i64 result = SYS5(NR_mount, line.fields[0], "/mere/root", line.fields[1], flags | MS_RELATIME, "");
    if (result == 0) return;
    if ((result != -ENOENT && result != -ENXIO) || monotonic_ms() > until) give_up("cannot mount the root ", line.fields[0], result);
    pause_ms(1);
  }
}

/* The initramfs is left behind, emptied of what was large in it. */
static void enter_root(void) {
  SYS1(NR_unlink, "/init");
  SYS2(NR_umount2, "/dev", MNT_DETACH);
  SYS1(NR_chdir, "/mere/root");
  i64 result = SYS5(NR_mount, ".", "/", NULL, MS_MOVE, NULL);
  if (result == 0) result = SYS1(NR_chroot, ".");
  if (result < 0) give_up("cannot enter the root", "", result);
  SYS1(NR_chdir, "/");
}

static void set_hostname(void) {
  const char *name = config_value("hostname");
  if (name != NULL) SYS2(NR_sethostname, name, length_of(name));
}

/* Tells the host by a connection of the agent's own. It stays open for as long as the agent lives. */
static void tell_ready(void) {
  struct sockaddr_vm own = {AF_VSOCK, 0, PORT_READY, VMADDR_CID_ANY, 0, {0, 0, 0}};
  struct sockaddr_vm host = {AF_VSOCK, 0, PORT_READY, VMADDR_CID_HOST, 0, {0, 0, 0}};
  i64 fd = SYS3(NR_socket, AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
  i64 result = fd < 0 ? fd : SYS3(NR_bind, fd, &own, sizeof own);
  if (result == 0) result = SYS3(NR_connect, fd, &host, sizeof host);
  if (result < 0) {
    log_errno("cannot tell the host", "", result);
    return;
  }
  connection_start((int)fd);
  frame_begin(OUT_READY);
  put_u16(PROTOCOL_VERSION);
  put_u64(started_us);
  put_u64(loaded_us);
  put_u64(entered_us);
  put_u64(boot_time_us());
  frame_end();
  connection_flush();
}

void boot(void) {
  started_us = boot_time_us();
  SYS1(NR_umask, 022);
  SYS5(NR_mount, "dev", "/dev", "devtmpfs", 0, "");
  if (!config_read("/mere/config")) give_up("the initramfs has no configuration", "", -ENOENT);
  load_modules("module");
  loaded_us = boot_time_us();
  i64 listener = listen_vsock(PORT_AGENT);
  if (listener < 0) give_up("cannot listen", "", listener);
  mount_root();
  enter_root();
  entered_us = boot_time_us();
  mount_system();
  write_file("/proc/self/oom_score_adj", "-1000", 0);
  set_hostname();
  start_loopback();
  tell_ready();
  serve((int)listener, 1);
}
