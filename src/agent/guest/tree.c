/* Copies trees between guest and host as a stream of entries, so that many small files cost no round trip each. Out: a directory, then what is in it, then the directory
 * once more (whoever writes it sets its mode and time when nothing more is made in it). A path is relative to the tree's root, which is "". Files end with an empty data
 * frame, since they may grow or shrink meanwhile. Leaves out: hard links (they become files of their own), extended attributes, holes. */
#include "agent.h"

enum { MOST_LEVELS = 900, UTIME_OMIT = 0x3ffffffe, KEEP = 0xffffffffu };

/* ── out ── */

/* The entry's path under the root; grows and shrinks as the walk goes. */
static char path[PATH_BYTES];
static char failed[PATH_BYTES];

static i64 fail_at(const char *where, i64 error) {
  failed[0] = 0;
  append(failed, sizeof failed, where);
  return error;
}

/* @returns 0 when the connection has ended */
static int make_room(void) {
  return frame_room() > 0 || connection_flush();
}

static int put_tree_entry(int directory, const char *name, const struct stat *stat) {
  char target[PATH_BYTES] = "";
  if ((stat->mode & S_IFMT) == S_IFLNK) {
    i64 length = SYS4(NR_readlinkat, directory, name, target, sizeof target - 1);
    target[length < 0 ? 0 : length] = 0;
  }
  if (!make_room()) return 0;
  frame_begin(OUT_ENTRY);
  put_text(path);
  put_stat(stat);
  put_text(target);
  frame_end();
  return 1;
}

static i64 send_file(int fd) {
  for (;;) {
    if (!make_room()) return -EPIPE;
    u64 room = frame_room();
    u8 *at = frame_data_begin(OUT_DATA);
    i64 got = SYS3(NR_read, fd, at, room);
    if (got < 0) frame_undo();
    if (got == -EINTR) continue;
    if (got < 0) return fail_at(path, got);
    frame_data_end((u64)got);
    if (got == 0) return 0;
  }
}

static i64 send_at(int directory, const char *name, int levels);

static i64 send_contents(int directory, int levels) {
  u8 entries[2048] __attribute__((aligned(8)));
  u64 length = length_of(path);
  i64 got;
  while ((got = SYS3(NR_getdents64, directory, entries, sizeof entries)) > 0)
    for (i64 at = 0; at < got; at += ((struct dirent64 *)(entries + at))->reclen) {
      const char *name = ((struct dirent64 *)(entries + at))->name;
      if (same(name, ".") || same(name, "..")) continue;
      if ((length > 0 && !append(path, sizeof path, "/")) || !append(path, sizeof path, name)) return fail_at(path, -ENAMETOOLONG);
      i64 result = send_at(directory, name, levels);
      path[length] = 0;
      /* What was removed since it was listed is not there. */
      if (result < 0 && result != -ENOENT) return result;
    }
  return got;
}

static i64 send_at(int directory, const char *name, int levels) {
  struct stat stat;
  i64 result = SYS4(NR_newfstatat, directory, name, &stat, AT_SYMLINK_NOFOLLOW);
  if (result < 0) return fail_at(path, result);
  u32 type = stat.mode & S_IFMT;
  if (type != S_IFREG && type != S_IFDIR) return put_tree_entry(directory, name, &stat) ? 0 : -EPIPE;
  int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | (type == S_IFDIR ? O_DIRECTORY : 0);
  i64 fd = SYS4(NR_openat, directory, name, flags, 0);
  if (fd < 0) return fail_at(path, fd);
  result = put_tree_entry(directory, name, &stat) ? 0 : -EPIPE;
  if (result == 0 && type == S_IFREG) result = send_file((int)fd);
  if (result == 0 && type == S_IFDIR) {
    result = levels > 0 ? send_contents((int)fd, levels - 1) : fail_at(path, -ELOOP);
    if (result == 0 && !put_tree_entry(directory, name, &stat)) result = -EPIPE;
  }
  close_file((int)fd);
  return result;
}

void run_copy_out(struct reader *request) {
  const char *root = get_text(request);
  static char resolved[PATH_BYTES];
  if (request->bad) return send_bad_request();
  /* The root itself may be named through a link. */
  append(resolved, sizeof resolved, root);
  i64 fd = open_file(root, O_PATH, 0);
  if (fd >= 0) {
    char link[64] = "/proc/self/fd/";
    append_number(link, sizeof link, (u64)fd);
    i64 length = SYS3(NR_readlink, link, resolved, sizeof resolved - 1);
    if (length > 0) resolved[length] = 0;
    close_file((int)fd);
  }
  i64 result = fd < 0 ? fail_at("", fd) : send_at(AT_FDCWD, resolved, MOST_LEVELS);
  if (result == -EPIPE) return;
  send_result(result, failed[0] == 0 ? resolved : failed);
}

/* ── in ── */

static char base[PATH_BYTES];
static u64 base_length;
/* The file whose data come now, or −1. */
static i64 file = -1;
static struct timespec file_times[2];

/* Only what is below the root can be named. */
static int is_inside(const char *relative) {
  if (relative[0] == '/') return 0;
  for (const char *part = relative;;) {
    const char *end = find_char(part, '/');
    u64 length = end == NULL ? length_of(part) : (u64)(end - part);
    if (length == 2 && part[0] == '.' && part[1] == '.') return 0;
    if (end == NULL) return 1;
    part = end + 1;
  }
}

static i64 make_file(u32 mode, u32 uid, u32 gid) {
  const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
  file = open_file(base, flags, 0600);
  if (file == -EEXIST) {
    i64 result = SYS1(NR_unlink, base);
    file = result < 0 ? result : open_file(base, flags, 0600);
  }
  if (file < 0) return file;
  i64 result = SYS3(NR_fchown, file, uid, gid);
  return result < 0 ? result : SYS2(NR_fchmod, file, mode & 07777);
}

static i64 make_directory(u32 mode, u32 uid, u32 gid) {
  struct stat stat;
  i64 result = SYS2(NR_mkdir, base, 0700);
  if (result == -EEXIST) result = SYS4(NR_newfstatat, AT_FDCWD, base, &stat, 0) == 0 && (stat.mode & S_IFMT) == S_IFDIR ? 0 : -ENOTDIR;
  if (result == 0) result = SYS5(NR_fchownat, AT_FDCWD, base, uid, gid, 0);
  if (result == 0) result = SYS2(NR_chmod, base, mode & 07777);
  return result < 0 ? result : SYS4(NR_utimensat, AT_FDCWD, base, file_times, 0);
}

static i64 make_link(const char *target, u32 uid, u32 gid) {
  i64 result = SYS2(NR_symlink, target, base);
  if (result == -EEXIST) {
    result = SYS1(NR_unlink, base);
    if (result == 0) result = SYS2(NR_symlink, target, base);
  }
  if (result == 0) result = SYS5(NR_fchownat, AT_FDCWD, base, uid, gid, AT_SYMLINK_NOFOLLOW);
  return result < 0 ? result : SYS4(NR_utimensat, AT_FDCWD, base, file_times, AT_SYMLINK_NOFOLLOW);
}

/* @returns 0, −errno, or 1 when the frame makes no sense */
static i64 take_entry(void) {
  struct reader reader = frame_reader();
  const char *relative = get_text(&reader);
  u32 mode = get_u32(&reader), uid = get_u32(&reader), gid = get_u32(&reader);
  get_u64(&reader);
  file_times[0].nanoseconds = UTIME_OMIT;
  file_times[1].seconds = (i64)get_u64(&reader);
  file_times[1].nanoseconds = get_u32(&reader);
  const char *target = get_text(&reader);
  if (reader.bad || file >= 0 || !is_inside(relative)) return 1;
  base[base_length] = 0;
  if (relative[0] != 0 && (!append(base, sizeof base, "/") || !append(base, sizeof base, relative))) return -ENAMETOOLONG;
  switch (mode & S_IFMT) {
  case S_IFREG: return make_file(mode, uid, gid);
  case S_IFDIR: return make_directory(mode, uid, gid);
  case S_IFLNK: return make_link(target, uid, gid);
  default: return 1;
  }
}

static i64 take_data(void) {
  if (file < 0) return 1;
  if (frame_length > 0) return write_all((int)file, frame_payload, frame_length);
  i64 result = SYS4(NR_utimensat, file, NULL, file_times, 0);
  close_file((int)file);
  file = -1;
  return result;
}

void run_copy_in(struct reader *request) {
  const char *root = get_text(request);
  if (request->bad || !append(base, sizeof base, root)) return send_bad_request();
  base_length = length_of(base);
  while (frame_wait()) {
    i64 result = 1;
    if (frame_type == IN_END && file < 0) return send_done();
    if (frame_type == IN_ENTRY) result = take_entry();
    if (frame_type == IN_DATA) result = take_data();
    if (result < 0) return send_result(result, base);
    if (result > 0) return send_bad_request();
  }
}
