/* Users and groups by /etc/passwd and /etc/group, read anew for each request. Names and numbers mean what they do for container runtimes:
 * "name", "uid", "name:group", "uid:gid"; a number need not be listed. @source passwd(5), group(5). Leaves out NSS (LDAP and the like). */
#include "agent.h"
#include "users.h"

/* Longer files are read this far. */
static char listing[256 << 10];
static char *cursor;

static int open_listing(const char *path) {
  cursor = listing;
  return read_file(path, listing, sizeof listing) >= 0;
}

/* Splits the next line at its colons. @returns number of fields, 0 at the end */
static int next_line(char **fields, int most) {
  if (*cursor == 0) return 0;
  int count = 1;
  fields[0] = cursor;
  for (; *cursor && *cursor != '\n'; cursor++)
    if (*cursor == ':' && count < most) {
      *cursor = 0;
      fields[count++] = cursor + 1;
    }
  if (*cursor == '\n') *cursor++ = 0;
  return count;
}

static int parse_id(const char *text, u32 *id) {
  u64 value;
  /* The largest number means "no change" to the kernel. */
  if (!parse_number(text, &value) || value >= 0xffffffffUL) return 0;
  *id = (u32)value;
  return 1;
}

/* @returns was the user in the list; fills uid, gid, name, home */
static int find_user(const char *wanted, struct user *user) {
  char *fields[7];
  u32 uid, gid, number = 0;
  int numeric = parse_id(wanted, &number);
  if (!open_listing("/etc/passwd")) return 0;
  for (int count; (count = next_line(fields, 7)) != 0;) {
    if (count < 6 || !parse_id(fields[2], &uid) || !parse_id(fields[3], &gid)) continue;
    if (numeric ? uid != number : !same(fields[0], wanted)) continue;
    user->uid = uid;
    user->gid = gid;
    user->name[0] = user->home[0] = 0;
    append(user->name, sizeof user->name, fields[0]);
    append(user->home, sizeof user->home, fields[5]);
    return 1;
  }
  return 0;
}

static int find_group(const char *wanted, u32 *result) {
  char *fields[4];
  if (open_listing("/etc/group"))
    for (int count; (count = next_line(fields, 4)) != 0;)
      if (count >= 3 && same(fields[0], wanted)) return parse_id(fields[2], result);
  return parse_id(wanted, result);
}

static int is_member(const char *members, const char *name) {
  u64 length = length_of(name);
  while (members != NULL && *members) {
    const char *end = find_char(members, ',');
    u64 count = end == NULL ? length_of(members) : (u64)(end - members);
    if (count == length && same_bytes(members, name, length)) return 1;
    members = end == NULL ? NULL : end + 1;
  }
  return 0;
}

static void find_supplementary(struct user *user) {
  char *fields[4];
  u32 gid;
  if (user->name[0] == 0 || !open_listing("/etc/group")) return;
  for (int count; (count = next_line(fields, 4)) != 0;)
    if (count == 4 && user->group_count < MOST_GROUPS && parse_id(fields[2], &gid) && is_member(fields[3], user->name))
      user->groups[user->group_count++] = gid;
}

int resolve_user(const char *words, struct user *user) {
  char name[256] = "";
  const char *colon = find_char(words, ':');
  u64 length = colon == NULL ? length_of(words) : (u64)(colon - words);
  if (length >= sizeof name) return ERROR_NO_SUCH_USER;
  memcpy(name, words, length);
  name[length] = 0;
  memset(user, 0, sizeof *user);
  append(user->home, sizeof user->home, "/");
  if (length == 0) append(name, sizeof name, "0");
  if (!find_user(name, user) && !parse_id(name, &user->uid)) return ERROR_NO_SUCH_USER;
  if (user->uid == 0 && user->name[0] == 0) {
    user->home[0] = 0;
    append(user->home, sizeof user->home, "/root");
  }
  if (colon == NULL || colon[1] == 0) find_supplementary(user);
  else if (!find_group(colon + 1, &user->gid)) return ERROR_NO_SUCH_GROUP;
  return 0;
}
