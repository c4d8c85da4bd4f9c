#ifndef USERS_H
#define USERS_H
#include "sys.h"

enum { MOST_GROUPS = 256 };
struct user {
  u32 uid, gid;
  u32 group_count;
  u32 groups[MOST_GROUPS];
  /* "" when the user is not listed. */
  char name[256];
  char home[1024];
};

/* @param words "", "name", "uid", with ":group" or ":gid" @returns 0, or ERROR_NO_SUCH_USER, ERROR_NO_SUCH_GROUP */
int resolve_user(const char *words, struct user *user);

#endif
