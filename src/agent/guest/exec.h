#ifndef EXEC_H
#define EXEC_H
#include "users.h"

enum { EXEC_TTY = 1, EXEC_DETACHED = 2 };

struct exec {
  int tty, detached;
  struct winsize size;
  const char *directory;
  char **arguments, **environment;
  struct user user;
  /* The agent's ends: the terminal's master stands for all three. −1 when closed. */
  int input, output, errors;
  /* The command's ends. */
  int command_input, command_output, command_errors;
  i64 pid;
  int pidfd;
};

/* exec-io.c: carries bytes, signals and the exit status until the command has ended. */
void exec_carry(struct exec *exec);

#endif
