/* Operations on one path. Paths are the guest's root user's: symbolic links are followed as the system calls do it. What kernel errors mean is the host's to say. */
#include "agent.h"

void send_result(i64 result, const char *path) {
  if (result < 0) send_error(ERROR_SYSTEM, result, path);
  else send_done();
}

void send_bad_request(void) {
  send_error(ERROR_BAD_REQUEST, EPROTO, "");
}

void put_stat(const struct stat *stat) {
  put_u32(stat->mode);
  put_u32(stat->uid);
  put_u32(stat->gid);
  put_u64((u64)stat->size);
  put_u64((u64)stat->mtime);
  put_u32((u32)stat->mtime_nsec);
}

void run_stat(struct reader *request) {
  struct stat stat;
  const char *path = get_text(request);
  int follow = get_u8(request);
  if (request->bad) return send_bad_request();
  i64 result = SYS4(NR_newfstatat, AT_FDCWD, path, &stat, follow ? 0 : AT_SYMLINK_NOFOLLOW);
  if (result < 0) return send_result(result, path);
  frame_begin(OUT_DONE);
  put_stat(&stat);
  frame_end();
  connection_flush();
}

/* Waits until more can be read. @returns 0 when the connection has ended meanwhile */
static int wait_for_file(int fd) {
  struct pollfd wait[2] = {{fd, POLLIN, 0}, {connection, POLLIN, 0}};
  SYS3(NR_poll, wait, 2, -1);
  return wait[1].revents == 0;
}

void run_read(struct reader *request) {
  struct stat stat;
  const char *path = get_text(request);
  u64 offset = get_u64(request), left = get_u64(request);
  if (request->bad) return send_bad_request();
  /* A FIFO without a writer must not keep the process here. */
  i64 fd = open_file(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
  i64 result = fd < 0 ? fd : SYS2(NR_fstat, fd, &stat);
  if (result >= 0 && (stat.mode & S_IFMT) == S_IFDIR) result = -EISDIR;
  if (result >= 0 && offset > 0) result = SYS3(NR_lseek, fd, offset, SEEK_SET);
  if (result < 0) return send_result(result, path);
  frame_begin(OUT_DONE);
  put_stat(&stat);
  frame_end();
  while (left > 0) {
    u64 room = frame_room();
    if (room == 0) {
      if (!connection_flush()) return;
      continue;
    }
    u8 *at = frame_data_begin(OUT_DATA);
    i64 got = SYS3(NR_read, fd, at, room < left ? room : left);
    if (got <= 0) frame_undo();
    if (got == 0) break;
    if (got == -EINTR) continue;
    if (got == -EAGAIN) {
      if (!connection_flush() || !wait_for_file((int)fd)) return;
      continue;
    }
    if (got < 0) return send_result(got, path);
    frame_data_end((u64)got);
    left -= (u64)got;
  }
  frame_data_begin(OUT_DATA);
  frame_data_end(0);
  connection_flush();
}

static void put_entry(int directory, const char *name) {
  struct stat stat;
  char target[PATH_BYTES] = "";
  if (SYS4(NR_newfstatat, directory, name, &stat, AT_SYMLINK_NOFOLLOW) < 0) return;
  if ((stat.mode & S_IFMT) == S_IFLNK) {
    i64 length = SYS4(NR_readlinkat, directory, name, target, sizeof target - 1);
    target[length < 0 ? 0 : length] = 0;
  }
  frame_begin(OUT_ENTRY);
  put_text(name);
  put_stat(&stat);
  put_text(target);
  frame_end();
}

void run_list(struct reader *request) {
  static u8 entries[32 << 10] __attribute__((aligned(8)));
  const char *path = get_text(request);
  if (request->bad) return send_bad_request();
  i64 directory = open_file(path, O_RDONLY | O_DIRECTORY, 0);
  if (directory < 0) return send_result(directory, path);
  i64 got;
  while ((got = SYS3(NR_getdents64, directory, entries, sizeof entries)) > 0)
    for (i64 at = 0; at < got; at += ((struct dirent64 *)(entries + at))->reclen) {
      const char *name = ((struct dirent64 *)(entries + at))->name;
      if (same(name, ".") || same(name, "..")) continue;
      if (frame_room() == 0 && !connection_flush()) return;
      put_entry((int)directory, name);
    }
  send_result(got, path);
}

void run_make_directory(struct reader *request) {
  const char *path = get_text(request);
  u32 mode = get_u32(request);
  int parents = get_u8(request);
  struct stat stat;
  if (request->bad) return send_bad_request();
  if (parents) make_directories(path, 0755);
  i64 result = SYS2(NR_mkdir, path, mode);
  if (parents && result == -EEXIST) {
    result = SYS4(NR_newfstatat, AT_FDCWD, path, &stat, 0);
    if (result == 0 && (stat.mode & S_IFMT) != S_IFDIR) result = -EEXIST;
  }
  /* The mode that was asked for, whatever the mask of new files. */
  if (result == 0) result = SYS2(NR_chmod, path, mode);
  send_result(result, path);
}

void run_rename(struct reader *request) {
  const char *from = get_text(request), *to = get_text(request);
  if (request->bad) return send_bad_request();
  send_result(SYS2(NR_rename, from, to), from);
}

void run_read_link(struct reader *request) {
  static char target[PATH_BYTES];
  const char *path = get_text(request);
  if (request->bad) return send_bad_request();
  i64 length = SYS3(NR_readlink, path, target, sizeof target - 1);
  if (length < 0) return send_result(length, path);
  target[length] = 0;
  frame_begin(OUT_DONE);
  put_text(target);
  frame_end();
  connection_flush();
}

void run_symlink(struct reader *request) {
  const char *target = get_text(request), *path = get_text(request);
  if (request->bad) return send_bad_request();
  send_result(SYS2(NR_symlink, target, path), path);
}

void run_change_mode(struct reader *request) {
  const char *path = get_text(request);
  u32 mode = get_u32(request);
  if (request->bad) return send_bad_request();
  send_result(SYS2(NR_chmod, path, mode & 07777), path);
}

void run_change_owner(struct reader *request) {
  const char *path = get_text(request);
  u32 uid = get_u32(request), gid = get_u32(request);
  int follow = get_u8(request);
  if (request->bad) return send_bad_request();
  send_result(SYS5(NR_fchownat, AT_FDCWD, path, uid, gid, follow ? 0 : AT_SYMLINK_NOFOLLOW), path);
}
