/* Small sequences of system calls that several files need. */
#include "agent.h"

void exit_process(int status) {
  for (;;) SYS1(NR_exit, status);
}

i64 open_file(const char *path, int flags, int mode) {
  return SYS4(NR_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode);
}

void close_file(int fd) {
  SYS1(NR_close, fd);
}

i64 write_all(int fd, const void *bytes, u64 count) {
  const u8 *at = bytes;
  while (count > 0) {
    i64 done = SYS3(NR_write, fd, at, count);
    if (done == -EINTR) continue;
    if (done <= 0) return done < 0 ? done : -EIO;
    at += done;
    count -= (u64)done;
  }
  return 0;
}

i64 write_file(const char *path, const char *text, int mode) {
  i64 fd = open_file(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  if (fd < 0) return fd;
  i64 result = write_all((int)fd, text, length_of(text));
  close_file((int)fd);
  return result;
}

i64 read_file(const char *path, char *buffer, u64 size) {
  i64 fd = open_file(path, O_RDONLY, 0);
  u64 at = 0;
  if (fd < 0) return fd;
  i64 done = 0;
  while (at < size - 1 && (done = SYS3(NR_read, fd, buffer + at, size - 1 - at)) > 0) at += (u64)done;
  close_file((int)fd);
  buffer[at] = 0;
  return done < 0 ? done : (i64)at;
}

void make_directories(const char *path, int mode) {
  char part[PATH_BYTES];
  u64 length = length_of(path);
  if (length >= PATH_BYTES) return;
  for (u64 i = 1; i <= length; i++) {
    if (path[i] != '/' && path[i] != 0) continue;
    memcpy(part, path, i);
    part[i] = 0;
    SYS2(NR_mkdir, part, mode);
  }
}

void pause_ms(u64 ms) {
  struct timespec time = {(i64)(ms / 1000), (i64)(ms % 1000) * 1000000};
  SYS2(NR_nanosleep, &time, NULL);
}

u64 monotonic_ms(void) {
  struct timespec now = {0, 0};
  SYS2(NR_clock_gettime, CLOCK_MONOTONIC, &now);
  return (u64)now.seconds * 1000 + (u64)now.nanoseconds / 1000000;
}

u64 boot_time_us(void) {
  struct timespec now = {0, 0};
  SYS2(NR_clock_gettime, CLOCK_BOOTTIME, &now);
  return (u64)now.seconds * 1000000 + (u64)now.nanoseconds / 1000;
}

char log_text[4096];

void log_line(const char *a, const char *b, const char *c) {
  char line[512] = "mere: ";
  append(line, sizeof line - 1, a);
  append(line, sizeof line - 1, b);
  append(line, sizeof line - 1, c);
  append(line, sizeof line, "\n");
  append(log_text, sizeof log_text, line + length_of("mere: "));
  i64 fd = open_file("/dev/kmsg", O_WRONLY, 0);
  if (fd < 0) return;
  write_all((int)fd, line, length_of(line));
  close_file((int)fd);
}

void log_errno(const char *what, const char *name, i64 error) {
  char text[64] = ": error ";
  append_number(text, sizeof text, (u64)-error);
  log_line(what, name, text);
}
