/* exec: starts one command as its request says and carries its streams. The command leads a session of its own, so that what it starts can be ended
 * with it. @source execve(2), credentials(7), pty(7) */
#include "exec.h"
#include "agent.h"

enum { MOST_WORDS = 16384 };
static char *arguments[MOST_WORDS + 1];
static char *environment[MOST_WORDS + 3];
static char home_variable[sizeof "HOME=" + 1024] = "HOME=";
static struct exec exec;
/* What kept the command from starting; written by the child, which shares the memory. */
static volatile u16 failure_code;
static volatile i64 failure;

static const char DEFAULT_PATH[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static const char *variable(const char *assignment) {
  for (char **entry = environment; *entry != NULL; entry++)
    if (starts_with(*entry, assignment)) return *entry + length_of(assignment);
  return NULL;
}

static int read_words(struct reader *request, char **words) {
  u32 count = get_u32(request);
  if (count > MOST_WORDS) return 0;
  for (u32 i = 0; i < count; i++) words[i] = (char *)get_text(request);
  words[count] = NULL;
  return !request->bad;
}

/* @returns 0 after it has told what is wrong */
static int read_request(struct reader *request) {
  u8 flags = get_u8(request);
  exec.size.columns = get_u16(request);
  exec.size.rows = get_u16(request);
  exec.directory = get_text(request);
  const char *user = get_text(request);
  if (!read_words(request, arguments) || !read_words(request, environment) || request->bad || arguments[0] == NULL) {
    send_error(ERROR_BAD_REQUEST, EPROTO, "exec");
    return 0;
  }
  exec.tty = (flags & EXEC_TTY) != 0;
  exec.detached = (flags & EXEC_DETACHED) != 0;
  exec.arguments = arguments;
  exec.environment = environment;
  int code = resolve_user(user, &exec.user);
  if (code != 0) {
    send_error((u16)code, 0, user);
    return 0;
  }
  char **end = environment;
  while (*end != NULL) end++;
  if (variable("PATH=") == NULL) *end++ = (char *)DEFAULT_PATH;
  if (variable("HOME=") == NULL) {
    append(home_variable, sizeof home_variable, exec.user.home);
    *end++ = home_variable;
  }
  *end = NULL;
  return 1;
}

static i64 make_pipe(int *read_end, int *write_end) {
  int ends[2] = {-1, -1};
  i64 result = SYS2(NR_pipe2, ends, O_CLOEXEC);
  *read_end = ends[0];
  *write_end = ends[1];
  return result;
}

static i64 make_terminal(void) {
  int unlocked = 0;
  i64 master = open_file("/dev/ptmx", O_RDWR | O_NOCTTY, 0);
  if (master < 0) return master;
  SYS3(NR_ioctl, master, TIOCSPTLCK, &unlocked);
  i64 peer = SYS3(NR_ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (peer < 0) return peer;
  SYS3(NR_ioctl, master, TIOCSWINSZ, &exec.size);
  SYS3(NR_fchown, peer, exec.user.uid, -1);
  exec.input = exec.output = (int)master;
  exec.command_input = exec.command_output = exec.command_errors = (int)peer;
  return 0;
}

static i64 make_streams(void) {
  exec.input = exec.output = exec.errors = -1;
  if (exec.tty && !exec.detached) return make_terminal();
  if (exec.detached) {
    i64 null = open_file("/dev/null", O_RDWR, 0);
    exec.command_input = exec.command_output = exec.command_errors = (int)null;
    return null < 0 ? null : 0;
  }
  i64 result = make_pipe(&exec.command_input, &exec.input);
  if (result == 0) result = make_pipe(&exec.output, &exec.command_output);
  if (result == 0) result = make_pipe(&exec.errors, &exec.command_errors);
  return result;
}

static void child_fails(u16 code, i64 error) {
  failure_code = code;
  failure = error;
  exit_process(127);
}

/* Tries one path. @returns only if it is not the one: −errno */
static i64 try_program(const char *path) {
  return SYS3(NR_execve, path, exec.arguments, exec.environment);
}

/* As execvp(3): an entry that may not be read does not end the search, but is what is told if nothing is found. */
static void child_executes(void) {
  const char *name = exec.arguments[0];
  i64 result = -ENOENT, refused = 0;
  if (find_char(name, '/') != NULL) result = try_program(name);
  else
    for (const char *entry = variable("PATH="); name[0] != 0 && entry != NULL;) {
      char path[PATH_BYTES] = "";
      const char *end = find_char(entry, ':');
      u64 length = end == NULL ? length_of(entry) : (u64)(end - entry);
      if (length < sizeof path) {
        memcpy(path, entry, length);
        path[length] = 0;
        if (append(path, sizeof path, length == 0 ? "./" : "/") && append(path, sizeof path, name)) result = try_program(path);
      }
      if (result == -EACCES) refused = result;
      if (result != -ENOENT && result != -ENOTDIR && result != -EACCES) break;
      entry = end == NULL ? NULL : end + 1;
    }
  if (refused != 0 && (result == -ENOENT || result == -ENOTDIR)) result = refused;
  if (result == -ENOENT || result == -ENOTDIR) child_fails(ERROR_COMMAND_NOT_FOUND, result);
  if (result == -EACCES || result == -ENOEXEC || result == -EISDIR) child_fails(ERROR_COMMAND_NOT_EXECUTABLE, result);
  child_fails(ERROR_SYSTEM, result);
}

static void child_becomes_user(void) {
  i64 result = SYS2(NR_setgroups, exec.user.group_count, exec.user.groups);
  if (result == 0) result = SYS1(NR_setgid, exec.user.gid);
  if (result == 0) result = SYS1(NR_setuid, exec.user.uid);
  /* Only root may change groups; under test the agent is who it is. */
  if (result == -EPERM && exec.user.uid == 0) result = 0;
  if (result < 0) child_fails(ERROR_SYSTEM, result);
}

static void child(void) {
  u64 none = 0;
  SYS0(NR_setsid);
  if (exec.tty && !exec.detached) SYS3(NR_ioctl, exec.command_input, TIOCSCTTY, 0);
  SYS2(NR_dup2, exec.command_input, 0);
  SYS2(NR_dup2, exec.command_output, 1);
  SYS2(NR_dup2, exec.command_errors, 2);
  write_file("/proc/self/oom_score_adj", "0", 0);
  child_becomes_user();
  i64 result = SYS1(NR_chdir, exec.directory[0] == 0 ? "/" : exec.directory);
  if (result < 0) child_fails(ERROR_NO_SUCH_DIRECTORY, result);
  SYS4(NR_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
  child_executes();
}

static void close_command_ends(void) {
  close_file(exec.command_input);
  if (exec.command_output != exec.command_input) close_file(exec.command_output);
  if (exec.command_errors != exec.command_input) close_file(exec.command_errors);
}

void run_exec(struct reader *request) {
  if (!read_request(request)) return;
  i64 result = make_streams();
  if (result < 0) {
    send_error(ERROR_SYSTEM, result, "streams");
    return;
  }
  exec.pid = vfork_process();
  if (exec.pid == 0) child();
  if (exec.pid < 0) {
    send_error(ERROR_SYSTEM, exec.pid, "fork");
    return;
  }
  close_command_ends();
  if (failure_code != 0) {
    send_error(failure_code, failure, failure_code == ERROR_NO_SUCH_DIRECTORY ? exec.directory : arguments[0]);
    return;
  }
  frame_begin(OUT_STARTED);
  put_u32((u32)exec.pid);
  frame_end();
  if (exec.detached) {
    connection_flush();
    return;
  }
  exec.pidfd = (int)SYS2(NR_pidfd_open, exec.pid, 0);
  exec_carry(&exec);
}
