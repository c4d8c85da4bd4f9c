/* exec's loop: carries the command's streams, signals and exit status between pipes (or a terminal) and the connection. Never waits for one of them alone:
 * what is under way in each direction is bounded by windows that the receiver opens again (IN_CREDIT, OUT_STDIN_TAKEN), so a stream that nobody
 * reads holds up neither the others nor signals. When the command has ended, what it had written is sent; after that a descendant that keeps a pipe open is waited for only a
 * moment. When the connection ends first, the command's process group is ended. */
#include "agent.h"
#include "exec.h"

enum {
  /* A descendant of the ended command may still be closing its streams. */
  LINGER_MS = 50,
  /* Between SIGHUP and SIGKILL to a command whose connection has gone. */
  HANGUP_MS = 2000
};

static struct exec *self;
/* Input for the command that its pipe has not taken yet, and whether its end comes after it. */
static u8 pending[STREAM_WINDOW_BYTES];
static u32 pending_start, pending_end;
static int input_ended;
static u32 output_credit, errors_credit;
static int ended;
/* Bytes that were in the pipes when the command ended. */
static i64 output_owed, errors_owed;
static u64 deadline;

static void close_stream(int *fd, u8 type) {
  if (*fd < 0) return;
  if (*fd != self->input || !self->tty) close_file(*fd);
  *fd = -1;
  frame_data_begin(type);
  frame_data_end(0);
}

static void close_input(void) {
  if (self->input < 0 || self->tty) return;
  close_file(self->input);
  self->input = -1;
}

/* Reads what the command wrote into a frame. */
static void take_output(int *fd, u8 type, u32 *credit, i64 *owed) {
  u64 room = frame_room();
  if (room > *credit) room = *credit;
  if (*fd < 0 || room == 0) return;
  u8 *at = frame_data_begin(type);
  i64 got = SYS3(NR_read, *fd, at, room);
  if (got > 0) {
    frame_data_end((u64)got);
    *credit -= (u32)got;
    *owed -= got;
  } else if (got == -EINTR || got == -EAGAIN) frame_undo();
  else {
    /* A terminal whose last user has gone says EIO. */
    frame_undo();
    close_stream(fd, type);
  }
}

static void give_input(void) {
  while (self->input >= 0 && pending_start < pending_end) {
    i64 done = SYS3(NR_write, self->input, pending + pending_start, pending_end - pending_start);
    if (done == -EINTR) continue;
    if (done == -EAGAIN) return;
    /* Nobody reads any more: what comes is taken and dropped, as a shell's pipe would end its writer. */
    if (done <= 0) {
      done = (i64)(pending_end - pending_start);
      close_input();
    }
    pending_start += (u32)done;
    frame_begin(OUT_STDIN_TAKEN);
    put_u32((u32)done);
    frame_end();
  }
  if (pending_start == pending_end && input_ended) close_input();
}

/* @returns 0 when the peer breaks the protocol */
static int take_input(void) {
  if (frame_length == 0) {
    /* A terminal has no end; its line discipline makes one of this character. */
    static const u8 end_of_transmission = 4;
    if (self->tty && !input_ended) SYS3(NR_write, self->input, &end_of_transmission, 1);
    input_ended = 1;
    return 1;
  }
  if (input_ended || frame_length > STREAM_WINDOW_BYTES - (pending_end - pending_start)) return 0;
  if (frame_length > STREAM_WINDOW_BYTES - pending_end) {
    memmove(pending, pending + pending_start, pending_end - pending_start);
    pending_end -= pending_start;
    pending_start = 0;
  }
  memcpy(pending + pending_end, frame_payload, frame_length);
  pending_end += frame_length;
  if (self->input < 0) {
    frame_begin(OUT_STDIN_TAKEN);
    put_u32(pending_end - pending_start);
    frame_end();
    pending_start = pending_end = 0;
  }
  return 1;
}

static void add_credit(u32 *credit, u32 count) {
  *credit = count > STREAM_WINDOW_BYTES - *credit ? STREAM_WINDOW_BYTES : *credit + count;
}

/* @returns 0 when the peer breaks the protocol */
static int obey(void) {
  struct reader reader = frame_reader();
  if (frame_type == IN_STDIN) return take_input();
  if (frame_type == IN_SIGNAL) {
    u32 signal = get_u32(&reader);
    if (!reader.bad && !ended && signal > 0 && signal <= 64) SYS2(NR_kill, -self->pid, signal);
  } else if (frame_type == IN_RESIZE) {
    struct winsize size = {0, 0, 0, 0};
    size.columns = get_u16(&reader);
    size.rows = get_u16(&reader);
    if (!reader.bad && self->tty) SYS3(NR_ioctl, self->input, TIOCSWINSZ, &size);
  } else if (frame_type == IN_CREDIT) {
    u8 stream = get_u8(&reader);
    u32 count = get_u32(&reader);
    add_credit(stream == OUT_STDERR ? &errors_credit : &output_credit, count);
  } else return 0;
  return !reader.bad;
}

/* The command has ended: tells how. */
static void tell_exit(void) {
  int status = 0;
  int owed = 0;
  SYS4(NR_wait4, self->pid, &status, 0, NULL);
  ended = 1;
  deadline = monotonic_ms() + LINGER_MS;
  if (self->output >= 0 && SYS3(NR_ioctl, self->output, FIONREAD, &owed) == 0) output_owed = owed;
  if (self->errors >= 0 && SYS3(NR_ioctl, self->errors, FIONREAD, &owed) == 0) errors_owed = owed;
  close_input();
  frame_begin(OUT_EXIT);
  put_u8((status & 0x7f) == 0 ? 0 : 1);
  put_u32((u32)((status & 0x7f) == 0 ? (status >> 8) & 0xff : status & 0x7f));
  frame_end();
}

/* The connection has gone, and the command with it. */
static void hang_up(void) {
  struct pollfd wait = {self->pidfd, POLLIN, 0};
  if (ended) return;
  SYS2(NR_kill, -self->pid, SIGHUP);
  close_input();
  SYS3(NR_poll, &wait, 1, HANGUP_MS);
  SYS2(NR_kill, -self->pid, SIGKILL);
  SYS4(NR_wait4, self->pid, NULL, 0, NULL);
}

/* What to wait for now. A descriptor of −1 is passed over by poll. */
static void prepare(struct pollfd *wait) {
  int room = frame_room() > 0;
  wait[0].fd = connection;
  wait[0].events = (u16)(POLLIN | (connection_pending() > 0 ? POLLOUT : 0));
  wait[1].fd = pending_start < pending_end ? self->input : -1;
  wait[1].events = POLLOUT;
  wait[2].fd = room && output_credit > 0 ? self->output : -1;
  wait[2].events = POLLIN;
  wait[3].fd = room && errors_credit > 0 ? self->errors : -1;
  wait[3].events = POLLIN;
  wait[4].fd = ended ? -1 : self->pidfd;
  wait[4].events = POLLIN;
}

static int stream_is_due(int fd, i64 owed) {
  return fd >= 0 && (owed > 0 || monotonic_ms() < deadline);
}

/* @returns 0 when nothing is left to do */
static int finish_streams(void) {
  if (!ended) return 1;
  if (!stream_is_due(self->output, output_owed)) close_stream(&self->output, OUT_STDOUT);
  if (!stream_is_due(self->errors, errors_owed)) close_stream(&self->errors, OUT_STDERR);
  return self->output >= 0 || self->errors >= 0;
}

static int take_frames(void) {
  int taken;
  while ((taken = frame_take()) > 0)
    if (!obey()) return 0;
  return taken == 0;
}

void exec_carry(struct exec *exec) {
  struct pollfd wait[5];
  self = exec;
  output_credit = errors_credit = STREAM_WINDOW_BYTES;
  if (self->input >= 0) SYS3(NR_fcntl, self->input, F_SETFL, O_RDWR | O_NONBLOCK);
  if (self->tty) {
    frame_data_begin(OUT_STDERR);
    frame_data_end(0);
  }
  int connected = take_frames();
  while (connected) {
    give_input();
    if (!finish_streams()) {
      connection_flush();
      return;
    }
    if (!connection_push()) break;
    prepare(wait);
    SYS3(NR_poll, wait, 5, ended && monotonic_ms() < deadline ? LINGER_MS : -1);
    if (wait[0].revents & (POLLIN | POLLHUP | POLLERR)) connected = connection_fill() && take_frames();
    /* The end is noted before the streams are read, so that none of its output is missed. */
    if (wait[4].fd >= 0 && wait[4].revents) tell_exit();
    if (wait[2].fd >= 0 && wait[2].revents) take_output(&self->output, OUT_STDOUT, &output_credit, &output_owed);
    if (wait[3].fd >= 0 && wait[3].revents) take_output(&self->errors, OUT_STDERR, &errors_credit, &errors_owed);
  }
  hang_up();
}
