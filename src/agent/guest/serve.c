/* Accepts connections and gives each a process of its own: what goes wrong in one operation, however badly, ends that operation only. Also reaps: as PID 1
 * the orphans of the whole guest. */
#include "agent.h"

enum {
  MOST_WORKERS = 256,
  BACKLOG = 256,
  /* A connection that asks for nothing is of no use. */
  REQUEST_TIMEOUT_MS = 10000
};

static i32 workers[MOST_WORKERS];
static int worker_count;

static void dispatch(void) {
  struct reader request = frame_reader();
  u16 version = get_u16(&request);
  if (request.bad || version != PROTOCOL_VERSION) {
    send_error(request.bad ? ERROR_BAD_REQUEST : ERROR_VERSION, 0, "");
    return;
  }
  switch (frame_type) {
  case OP_EXEC: run_exec(&request); return;
  case OP_READ: run_read(&request); return;
  case OP_WRITE: run_write(&request); return;
  case OP_LIST: run_list(&request); return;
  case OP_STAT: run_stat(&request); return;
  case OP_MAKE_DIRECTORY: run_make_directory(&request); return;
  case OP_REMOVE: run_remove(&request); return;
  case OP_RENAME: run_rename(&request); return;
  case OP_READ_LINK: run_read_link(&request); return;
  case OP_SYMLINK: run_symlink(&request); return;
  case OP_CHANGE_MODE: run_change_mode(&request); return;
  case OP_CHANGE_OWNER: run_change_owner(&request); return;
  case OP_WATCH: run_watch(&request); return;
  case OP_COPY_OUT: run_copy_out(&request); return;
  case OP_COPY_IN: run_copy_in(&request); return;
  case OP_CLOCK: run_clock(&request); return;
  case OP_SYNC: run_sync(&request); return;
  case OP_FREEZE: run_freeze(&request); return;
  case OP_POWER: run_power(&request); return;
  case OP_INFO: run_info(&request); return;
  default: send_error(ERROR_BAD_REQUEST, 0, "unknown request"); return;
  }
}

static void work(int fd) {
  connection_start(fd);
  struct pollfd wait = {fd, POLLIN, 0};
  if (SYS3(NR_poll, &wait, 1, REQUEST_TIMEOUT_MS) > 0 && frame_wait()) {
    dispatch();
    connection_finish();
  }
  exit_process(0);
}

static void reap(void) {
  i64 pid;
  int status;
  while ((pid = SYS4(NR_wait4, -1, &status, WNOHANG, NULL)) > 0)
    for (int i = 0; i < worker_count; i++)
      if (workers[i] == pid) {
        workers[i] = workers[--worker_count];
        if ((status & 0x7f) != 0) thaw_root();
        break;
      }
}

static void accept_one(int listener, int is_vsock, int signals) {
  struct sockaddr_vm peer;
  u32 length = sizeof peer;
  i64 fd = SYS4(NR_accept4, listener, &peer, &length, SOCK_CLOEXEC);
  if (fd < 0) return;
  /* Programs of the guest have no business here. */
  if (is_vsock && peer.cid != VMADDR_CID_HOST) {
    close_file((int)fd);
    return;
  }
  i64 pid = SYS0(NR_fork);
  if (pid == 0) {
    close_file(listener);
    close_file(signals);
    work((int)fd);
  }
  if (pid > 0) workers[worker_count++] = (i32)pid;
  else {
    connection_start((int)fd);
    frame_begin(OUT_ERROR);
    put_u16(ERROR_LIMIT);
    put_u32((u32)-pid);
    put_text("");
    frame_end();
    connection_push();
  }
  close_file((int)fd);
}

void serve(int listener, int is_vsock) {
  u64 all = ~0UL, child = 1UL << (SIGCHLD - 1);
  /* Blocked for good: writes to a pipe without a reader then fail instead of ending the process. Commands get an empty mask. */
  SYS4(NR_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
  int signals = (int)SYS4(NR_signalfd4, -1, &child, 8, SOCK_CLOEXEC | SOCK_NONBLOCK);
  for (;;) {
    /* While there are as many as there may be, the next wait their turn in the kernel. */
    struct pollfd wait[2] = {{worker_count < MOST_WORKERS ? listener : -1, POLLIN, 0}, {signals, POLLIN, 0}};
    u8 drained[128];
    SYS3(NR_poll, wait, 2, -1);
    if (wait[1].revents) SYS3(NR_read, signals, drained, sizeof drained);
    reap();
    if (wait[0].fd >= 0 && wait[0].revents) accept_one(listener, is_vsock, signals);
  }
}

i64 listen_vsock(u32 port) {
  struct sockaddr_vm address = {AF_VSOCK, 0, port, VMADDR_CID_ANY, 0, {0, 0, 0}};
  i64 fd = SYS3(NR_socket, AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fd;
  i64 result = SYS3(NR_bind, fd, &address, sizeof address);
  if (result == 0) result = SYS2(NR_listen, fd, BACKLOG);
  return result < 0 ? result : fd;
}

i64 listen_unix(const char *path) {
  struct sockaddr_un address = {AF_UNIX, ""};
  i64 fd = SYS3(NR_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || !append(address.path, sizeof address.path, path)) return fd < 0 ? fd : -ENAMETOOLONG;
  i64 result = SYS3(NR_bind, fd, &address, sizeof address);
  if (result == 0) result = SYS2(NR_listen, fd, BACKLOG);
  return result < 0 ? result : fd;
}
