/* The start of the guest: modules, root disk, system mounts, names; then the host is told that the agent is ready. Each step costs time before the
 * first command runs, so nothing is waited for that need not be. @source docs/agent.md "Start" */
#include "agent.h"
#include "config.h"
#include "mounts.h"
#include "names.h"
#include "network.h"

enum { ROOT_WAIT_MS = 10000, MOST_LATER_MODULES = 16 };

/* When the agent started, had loaded its modules, had entered the root and was ready: what the host learns with the greeting. */
static u64 started_us, loaded_us, entered_us;

/* An init that ends is a panic, which ends the machine (the kernel's command line says panic=-1); its words are the last on the serial port. */
static void give_up(const char *what, const char *name, i64 error) {
  log_errno(what, name, error);
  exit_process(1);
}

static i64 open_module(const char *name) {
  char path[256] = "/mere/modules/";
  append(path, sizeof path, name);
  append(path, sizeof path, ".ko");
  i64 fd = open_file(path, O_RDONLY, 0);
  SYS1(NR_unlink, path);
  return fd;
}

static void load_module(i64 fd, const char *name) {
  i64 result = fd < 0 ? fd : SYS3(NR_finit_module, fd, "", 0);
  if (fd >= 0) close_file((int)fd);
  if (result < 0 && result != -EEXIST) log_errno("cannot load the module ", name, result);
}

static void load_modules(void) {
  struct config_line line = {.next = NULL};
  while (config_next(&line, "module")) load_module(open_module(line.fields[0]), line.fields[0]);
}

/* Modules that no command waits for: opened while the initramfs is there, loaded by a process of low priority once the host has been told. */
static i32 later[MOST_LATER_MODULES];
static int later_count;

static void open_later_modules(void) {
  struct config_line line = {.next = NULL};
  while (later_count < MOST_LATER_MODULES && config_next(&line, "later-module")) later[later_count++] = (i32)open_module(line.fields[0]);
}

static void load_later_modules(int listener) {
  i64 pid = later_count > 0 ? SYS0(NR_fork) : -1;
  if (pid == 0) {
    close_file(listener);
    SYS3(NR_setpriority, 0, 0, 19);
  }
  for (int i = 0; i < later_count; i++)
    if (pid == 0) load_module(later[i], "");
    else close_file(later[i]);
  if (pid == 0) exit_process(0);
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
  put_text(log_text);
  frame_end();
  connection_flush();
}

/* The image's own init becomes PID 1, and the agent goes on beside it. Its name begins with "@": systemd lets such processes live to the very end, so that
 * it need not wait for them. @source systemd's "Storage daemons" document */
static void go_beside_init(const char *init, char *own_name) {
  char *words[2] = {(char *)init, NULL};
  char *environment[2] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
  i64 pid = SYS0(NR_fork);
  if (pid == 0) {
    agent_role = ROLE_BESIDE_INIT;
    own_name[0] = '@';
    SYS0(NR_setsid);
    return;
  }
  i64 result = pid < 0 ? pid : SYS3(NR_execve, init, words, environment);
  give_up("cannot start the init ", init, result);
}

static void set_up_system(void) {
  mount_system();
  i64 result = start_network();
  if (result < 0) log_errno("cannot set up the network", "", result);
  set_names();
  mount_extra();
  give_keys();
  give_seed();
}

void boot(char *own_name) {
  static char init[PATH_BYTES];
  agent_role = ROLE_INIT;
  started_us = boot_time_us();
  SYS1(NR_umask, 022);
  SYS5(NR_mount, "dev", "/dev", "devtmpfs", 0, "");
  if (!config_read("/mere/config")) give_up("the initramfs has no configuration", "", -ENOENT);
  load_modules();
  loaded_us = boot_time_us();
  i64 listener = listen_vsock(PORT_AGENT);
  if (listener < 0) give_up("cannot listen", "", listener);
  open_seed();
  open_later_modules();
  mount_root();
  enter_root();
  entered_us = boot_time_us();
  set_up_system();
  const char *value = config_value("init");
  if (value != NULL && append(init, sizeof init, value)) go_beside_init(init, own_name);
  /* Not before: an init of the image must not inherit it. */
  write_file("/proc/self/oom_score_adj", "-1000", 0);
  tell_ready();
  load_later_modules((int)listener);
  serve((int)listener, 1);
}
