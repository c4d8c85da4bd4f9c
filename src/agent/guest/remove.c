/* Removes a file, or a tree from its leaves. Never follows a symbolic link: each name is removed relative to the open directory that it is in. */
#include "agent.h"

/* A level takes a descriptor and some stack; deeper trees are refused. */
enum { MOST_LEVELS = 900 };

static i64 remove_at(int directory, const char *name, int levels);

static i64 remove_contents(int directory, int levels) {
  u8 entries[2048] __attribute__((aligned(8)));
  i64 got;
  while ((got = SYS3(NR_getdents64, directory, entries, sizeof entries)) > 0)
    for (i64 at = 0; at < got; at += ((struct dirent64 *)(entries + at))->reclen) {
      const char *name = ((struct dirent64 *)(entries + at))->name;
      if (same(name, ".") || same(name, "..")) continue;
      i64 result = remove_at(directory, name, levels);
      if (result < 0 && result != -ENOENT) return result;
    }
  return got;
}

static i64 remove_at(int directory, const char *name, int levels) {
  i64 result = SYS3(NR_unlinkat, directory, name, 0);
  if (result != -EISDIR && result != -EPERM) return result;
  i64 inner = SYS4(NR_openat, directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (inner == -ENOTDIR) return result;
  if (inner < 0) return inner;
  result = levels > 0 ? remove_contents((int)inner, levels - 1) : -ELOOP;
  close_file((int)inner);
  return result < 0 ? result : SYS3(NR_unlinkat, directory, name, AT_REMOVEDIR);
}

void run_remove(struct reader *request) {
  const char *path = get_text(request);
  int recursive = get_u8(request), missing_is_fine = get_u8(request);
  if (request->bad) return send_bad_request();
  i64 result;
  if (recursive) result = remove_at(AT_FDCWD, path, MOST_LEVELS);
  else {
    result = SYS1(NR_unlink, path);
    if (result == -EISDIR || result == -EPERM) {
      i64 directory = SYS1(NR_rmdir, path);
      if (directory != -ENOTDIR) result = directory;
    }
  }
  send_result(result == -ENOENT && missing_is_fine ? 0 : result, path);
}
