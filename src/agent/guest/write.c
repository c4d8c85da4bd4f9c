/* Writes one file. A regular file is made beside its place under another name and renamed when all of it is there, so that nobody sees half of it and a
 * connection that breaks off changes nothing. What is no regular file, or is added to, is written in place. */
#include "agent.h"

enum { KEEP = 0xffffffffu };

static char temporary[PATH_BYTES + 64];
/* The file itself, where the path given leads to it through links. */
static char place[PATH_BYTES];
static u32 mode, uid, gid;

/* @returns 1 when there is such a file */
static int look(const char *path, struct stat *stat) {
  i64 fd = open_file(path, O_PATH, 0);
  if (fd < 0) return 0;
  char link[64] = "/proc/self/fd/";
  append_number(link, sizeof link, (u64)fd);
  i64 length = SYS3(NR_readlink, link, place, sizeof place - 1);
  int found = SYS2(NR_fstat, fd, stat) == 0 && length > 0;
  close_file((int)fd);
  if (found) place[length] = 0;
  return found;
}

static i64 open_temporary(void) {
  u64 random = 0;
  SYS3(NR_getrandom, &random, 8, 0);
  u64 slash = 0;
  for (u64 i = 0; place[i]; i++)
    if (place[i] == '/') slash = i + 1;
  memcpy(temporary, place, slash);
  temporary[slash] = 0;
  append(temporary, sizeof temporary, ".mere-");
  append_number(temporary, sizeof temporary, random);
  return open_file(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
}

/* Chooses how to write. @returns a descriptor or −errno; `temporary` is "" when it is the file itself */
static i64 open_target(const char *path, u32 flags) {
  struct stat stat, link;
  temporary[0] = 0;
  int exists = look(path, &stat);
  if (exists && (flags & WRITE_NEW)) return -EEXIST;
  if (exists && (stat.mode & S_IFMT) == S_IFDIR) return -EISDIR;
  if (flags & WRITE_APPEND) return open_file(path, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY, mode == KEEP ? 0644 : (int)mode);
  if (exists && (stat.mode & S_IFMT) != S_IFREG) return open_file(path, O_WRONLY | O_NOCTTY, 0);
  if (!exists) {
    /* A link that leads nowhere: the file it names is made. */
    if (SYS4(NR_newfstatat, AT_FDCWD, path, &link, AT_SYMLINK_NOFOLLOW) == 0) {
      if (flags & WRITE_NEW) return -EEXIST;
      return open_file(path, O_WRONLY | O_CREAT, mode == KEEP ? 0644 : (int)mode);
    }
    if (length_of(path) >= sizeof place) return -ENAMETOOLONG;
    memcpy(place, path, length_of(path) + 1);
  }
  if (mode == KEEP) mode = exists ? stat.mode & 07777 : 0644;
  if (exists && uid == KEEP) uid = stat.uid;
  if (exists && gid == KEEP) gid = stat.gid;
  return open_temporary();
}

/* @returns 0, −errno of the file, or 1 when the connection ended or makes no sense */
static i64 receive(int fd) {
  while (frame_wait()) {
    if (frame_type == IN_END) return 0;
    if (frame_type != IN_DATA) return 1;
    i64 result = write_all(fd, frame_payload, frame_length);
    if (result < 0) return result;
  }
  return 1;
}

static i64 finish(int fd, int is_new) {
  i64 result = 0;
  if (uid != KEEP || gid != KEEP) result = SYS3(NR_fchown, fd, uid, gid);
  if (result == 0 && mode != KEEP) result = SYS2(NR_fchmod, fd, mode & 07777);
  if (result < 0 || temporary[0] == 0) return result;
  /* Between look and rename another may have made the file: "new" means new. */
  return SYS5(NR_renameat2, AT_FDCWD, temporary, AT_FDCWD, place, is_new ? 1 : 0);
}

void run_write(struct reader *request) {
  static char path[PATH_BYTES];
  const char *given = get_text(request);
  u32 flags = get_u32(request);
  mode = get_u32(request);
  uid = get_u32(request);
  gid = get_u32(request);
  if (request->bad) return send_bad_request();
  /* The frame it is in makes room for the next. */
  if (!append(path, sizeof path, given)) return send_result(-ENAMETOOLONG, "");
  i64 fd = open_target(path, flags);
  if (fd < 0) return send_result(fd, path);
  i64 result = receive((int)fd);
  if (result == 0) result = finish((int)fd, (flags & WRITE_NEW) != 0);
  if (result != 0 && temporary[0] != 0) SYS1(NR_unlink, temporary);
  if (result <= 0) send_result(result, path);
}
