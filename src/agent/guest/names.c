/* What a system keeps in /etc about itself. The files are written into the root disk, which is the VM's own, so that its programs may change them as on any machine;
 * on a read-only root they are made under /run and bound over those that are there. A link where a file should be (to systemd's resolver, say) is replaced.
 * @source hostname(5), hosts(5), resolv.conf(5), localtime(5), cloud-init's NoCloud data source */
#include "names.h"
#include "agent.h"
#include "config.h"
#include "users.h"

static char text[16 << 10];

static void bind_over(const char *path, const char *content) {
  char made[256] = "/run/mere";
  SYS2(NR_mkdir, made, 0755);
  append(made, sizeof made, path);
  make_directories("/run/mere/etc", 0755);
  i64 result = write_file(made, content, 0644);
  if (result == 0) result = SYS5(NR_mount, made, path, NULL, MS_BIND, NULL);
  if (result < 0) log_errno("cannot write ", path, result);
}

static void write_name(const char *path, const char *content) {
  struct stat stat;
  if (SYS2(NR_lstat, path, &stat) == 0 && (stat.mode & S_IFMT) == S_IFLNK && SYS1(NR_unlink, path) == -EROFS) {
    bind_over(path, content);
    return;
  }
  i64 result = write_file(path, content, 0644);
  if (result == -ENOENT) {
    SYS2(NR_mkdir, "/etc", 0755);
    result = write_file(path, content, 0644);
  }
  if (result == -EROFS) bind_over(path, content);
  else if (result < 0) log_errno("cannot write ", path, result);
}

static void add(const char *a, const char *b, const char *c) {
  append(text, sizeof text, a);
  append(text, sizeof text, b);
  append(text, sizeof text, c);
}

/* The network line's address without its prefix length; "127.0.1.1" without a network, as Debian does. */
static void add_own_address(void) {
  struct config_line line = {.next = NULL};
  char address[32] = "";
  if (config_next(&line, "network")) append(address, sizeof address, line.fields[1]);
  char *slash = (char *)find_char(address, '/');
  if (slash != NULL) *slash = 0;
  add(address[0] != 0 ? address : "127.0.1.1", "\t", "");
}

static void set_hostname(const char *name) {
  text[0] = 0;
  add(name, "\n", "");
  SYS2(NR_sethostname, name, length_of(name));
  write_name("/etc/hostname", text);
  text[0] = 0;
  add("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n", "", "");
  add_own_address();
  add(name, "\n", "");
  write_name("/etc/hosts", text);
}

static void set_resolver(void) {
  struct config_line line = {.next = NULL};
  text[0] = 0;
  if (config_next(&line, "search")) {
    add("search", "", "");
    for (int i = 0; i < line.count; i++) add(" ", line.fields[i], "");
    add("\n", "", "");
  }
  line.next = NULL;
  while (config_next(&line, "nameserver")) add("nameserver ", line.fields[0], "\n");
  if (text[0] != 0) write_name("/etc/resolv.conf", text);
}

static void set_timezone(const char *name) {
  char path[256] = "/usr/share/zoneinfo/";
  struct stat stat;
  append(path, sizeof path, name);
  if (SYS2(NR_stat, path, &stat) < 0) {
    log_line("the image has no time zone ", name, "");
    return;
  }
  SYS1(NR_unlink, "/etc/localtime");
  SYS2(NR_symlink, path, "/etc/localtime");
  text[0] = 0;
  add(name, "\n", "");
  write_name("/etc/timezone", text);
}

void set_names(void) {
  static char name[256];
  const char *value = config_value("hostname");
  if (value != NULL) {
    append(name, sizeof name, value);
    set_hostname(name);
  }
  set_resolver();
  value = config_value("timezone");
  if (value != NULL) set_timezone(value);
}

/* ── keys ── */

/* Is the line among those of a file? */
static int has_line(const char *file, const char *line) {
  u64 length = length_of(line);
  while (file != NULL && *file) {
    if (starts_with(file, line) && (file[length] == 0 || file[length] == '\n')) return 1;
    file = find_char(file, '\n');
    if (file != NULL) file++;
  }
  return 0;
}

void give_keys(void) {
  static struct user user;
  static char path[2048], known[64 << 10];
  struct config_line line = {.next = NULL};
  const char *name = config_value("ssh-user");
  if (resolve_user(name == NULL ? "" : name, &user) != 0) {
    log_line("there is no user for ssh keys called ", name, "");
    return;
  }
  if (!config_next(&line, "ssh-key")) return;
  append(path, sizeof path, user.home);
  make_directories(path, 0755);
  append(path, sizeof path, "/.ssh");
  if (SYS2(NR_mkdir, path, 0700) == 0) SYS5(NR_fchownat, AT_FDCWD, path, user.uid, user.gid, 0);
  append(path, sizeof path, "/authorized_keys");
  i64 length = read_file(path, known, sizeof known);
  i64 fd = open_file(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (fd < 0) {
    log_errno("cannot write ", path, fd);
    return;
  }
  SYS3(NR_fchown, fd, user.uid, user.gid);
  if (length > 0 && known[length - 1] != '\n') write_all((int)fd, "\n", 1);
  do {
    if (length > 0 && has_line(known, line.fields[0])) continue;
    write_all((int)fd, line.fields[0], length_of(line.fields[0]));
    write_all((int)fd, "\n", 1);
  } while (config_next(&line, "ssh-key"));
  close_file((int)fd);
}

/* ── cloud-init ── */

static const char *const SEED[] = {"meta-data", "user-data", "network-config", "vendor-data"};
enum { SEED_FILES = 4 };
static i32 seed[SEED_FILES] = {-1, -1, -1, -1};

void open_seed(void) {
  for (int i = 0; i < SEED_FILES; i++) {
    char path[64] = "/mere/seed/";
    append(path, sizeof path, SEED[i]);
    seed[i] = (i32)open_file(path, O_RDONLY, 0);
  }
}

void give_seed(void) {
  for (int i = 0; i < SEED_FILES; i++) {
    char path[128] = "/var/lib/cloud/seed/nocloud";
    if (seed[i] < 0) continue;
    make_directories(path, 0755);
    append(path, sizeof path, "/");
    append(path, sizeof path, SEED[i]);
    i64 fd = open_file(path, O_WRONLY | O_CREAT | O_TRUNC, 0600), got = 0;
    if (fd < 0) log_errno("cannot write ", path, fd);
    while (fd >= 0 && (got = SYS3(NR_read, seed[i], text, sizeof text)) > 0) write_all((int)fd, text, (u64)got);
    if (fd >= 0) close_file((int)fd);
    close_file(seed[i]);
  }
}
