/* The agent: the guest's first process (boot.c), or with `--listen PATH` a program that serves the same protocol on a Unix socket, which is how
 * tests run it on the host. */
#include "agent.h"

int agent_role = ROLE_TEST;

void agent_main(i64 *stack) {
  i64 count = stack[0];
  char **words = (char **)(stack + 1);
  if (count == 3 && same(words[1], "--listen")) {
    i64 listener = listen_unix(words[2]);
    if (listener >= 0) serve((int)listener, 0);
    exit_process(1);
  }
  if (SYS0(NR_getpid) == 1) boot(words[0]);
  exit_process(2);
}
