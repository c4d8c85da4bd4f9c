/* Tells what changes below a path until the connection ends. @source inotify(7). A recursive watch has one of the kernel's for each directory; a directory that appears is
 * watched at once and what is in it already is told as created. Links are not followed. Paths are told relative to the watched one. */
#include "agent.h"

enum {
  MOST_WATCHES = 8192,
  NAME_BYTES = 1 << 20,
  MOST_LEVELS = 200,
  IN_MODIFY_ = 0x2, IN_ATTRIB_ = 0x4, IN_MOVED_FROM_ = 0x40, IN_MOVED_TO_ = 0x80, IN_CREATE_ = 0x100, IN_DELETE_ = 0x200,
  IN_DELETE_SELF_ = 0x400, IN_MOVE_SELF_ = 0x800, IN_Q_OVERFLOW_ = 0x4000, IN_IGNORED_ = 0x8000, IN_DONT_FOLLOW_ = 0x02000000,
  IN_ISDIR_ = 0x40000000,
  WATCHED = IN_MODIFY_ | IN_ATTRIB_ | IN_MOVED_FROM_ | IN_MOVED_TO_ | IN_CREATE_ | IN_DELETE_ | IN_DELETE_SELF_ | IN_MOVE_SELF_
};
struct inotify_event { i32 watch; u32 mask, cookie, length; char name[1]; };

static int inotify;
static int recursive;
static char root[PATH_BYTES];
/* The kernel numbers watches from 1 on and does not use a number again: one that was removed takes its place to the end. */
static u32 names[MOST_WATCHES + 1];
static char name_bytes[NAME_BYTES];
static u64 name_end = 1;

static i64 remember(i64 watch, const char *relative) {
  u64 length = length_of(relative) + 1;
  if (watch > MOST_WATCHES || name_end + length > NAME_BYTES) return -ENOSPC;
  memcpy(name_bytes + name_end, relative, length);
  names[watch] = (u32)name_end;
  name_end += length;
  return 0;
}

static void tell(u8 kind, const char *relative) {
  /* Who does not read gets what the buffer holds; meanwhile the kernel counts, and says so when it has lost some. */
  if (frame_room() == 0 && !connection_flush()) exit_process(0);
  frame_begin(OUT_EVENT);
  put_u8(kind);
  put_text(relative);
  frame_end();
}

static int join(char *path, const char *directory, const char *name) {
  path[0] = 0;
  if (!append(path, PATH_BYTES, directory)) return 0;
  if (directory[0] != 0 && name[0] != 0 && !append(path, PATH_BYTES, "/")) return 0;
  return append(path, PATH_BYTES, name);
}

/* Watches a directory and, if asked, those in it. @param telling is what is found told as created */
static i64 watch_tree(const char *relative, int telling, int levels) {
  char path[PATH_BYTES];
  u8 entries[2048] __attribute__((aligned(8)));
  if (!join(path, root, relative)) return -ENAMETOOLONG;
  i64 watch = SYS3(NR_inotify_add_watch, inotify, path, WATCHED | (relative[0] == 0 ? 0 : IN_DONT_FOLLOW_));
  i64 result = watch < 0 ? watch : remember(watch, relative);
  if (result < 0 || !recursive) return result;
  i64 directory = open_file(path, O_RDONLY | O_DIRECTORY | (relative[0] == 0 ? 0 : O_NOFOLLOW), 0);
  if (directory < 0) return directory == -ENOTDIR ? 0 : directory;
  i64 got = levels > 0 ? 0 : -ELOOP;
  while (got >= 0 && (got = SYS3(NR_getdents64, directory, entries, sizeof entries)) > 0)
    for (i64 at = 0; at < got; at += ((struct dirent64 *)(entries + at))->reclen) {
      const char *name = ((struct dirent64 *)(entries + at))->name;
      if (same(name, ".") || same(name, "..") || !join(path, relative, name)) continue;
      if (telling) tell(EVENT_CREATED, path);
      if (((struct dirent64 *)(entries + at))->type != 4) continue;
      result = watch_tree(path, telling, levels - 1);
      /* What was removed since it was listed is not there. */
      if (result < 0 && result != -ENOENT) {
        close_file((int)directory);
        return result;
      }
    }
  close_file((int)directory);
  return got;
}

/* @returns 0, or −errno when a directory that appeared cannot be watched */
static i64 take_event(const struct inotify_event *event) {
  char relative[PATH_BYTES];
  if (event->mask & IN_Q_OVERFLOW_) tell(EVENT_OVERFLOW, "");
  if (event->watch <= 0 || event->watch > MOST_WATCHES || (event->mask & IN_IGNORED_)) return 0;
  if (!join(relative, name_bytes + names[event->watch], event->length > 0 ? event->name : "")) return 0;
  if (event->mask & (IN_DELETE_ | IN_MOVED_FROM_)) tell(EVENT_REMOVED, relative);
  /* A directory's own removal is told by the one it is in. */
  if ((event->mask & (IN_DELETE_SELF_ | IN_MOVE_SELF_)) && relative[0] == 0) tell(EVENT_REMOVED, "");
  if (event->mask & (IN_MODIFY_ | IN_ATTRIB_)) tell(EVENT_CHANGED, relative);
  if (!(event->mask & (IN_CREATE_ | IN_MOVED_TO_))) return 0;
  tell(EVENT_CREATED, relative);
  if (!recursive || !(event->mask & IN_ISDIR_)) return 0;
  i64 result = watch_tree(relative, 1, MOST_LEVELS);
  return result == -ENOENT ? 0 : result;
}

void run_watch(struct reader *request) {
  static u8 events[64 << 10] __attribute__((aligned(8)));
  const char *path = get_text(request);
  recursive = get_u8(request);
  if (request->bad || !append(root, sizeof root, path)) return send_bad_request();
  inotify = (int)SYS1(NR_inotify_init1, O_NONBLOCK | O_CLOEXEC);
  i64 result = inotify < 0 ? inotify : watch_tree("", 0, MOST_LEVELS);
  if (result < 0) return send_result(result, path);
  send_done();
  for (;;) {
    struct pollfd wait[2] = {{connection, POLLIN, 0}, {inotify, POLLIN, 0}};
    if (!connection_flush()) return;
    SYS3(NR_poll, wait, 2, -1);
    /* The host says nothing more: this is the end. */
    if (wait[0].revents) return;
    i64 got = SYS3(NR_read, inotify, events, sizeof events);
    for (i64 at = 0; at < got; at += 16 + (i64)((struct inotify_event *)(events + at))->length) {
      result = take_event((struct inotify_event *)(events + at));
      if (result < 0) return send_result(result, root);
    }
  }
}
