/* The mounts of a running system, inside the root disk. @source Filesystem Hierarchy Standard §6.1; systemd's API file systems */
#include "mounts.h"
#include "agent.h"
#include "config.h"

static void mount_at(const char *type, const char *place, u64 flags, const char *options) {
  i64 result = SYS5(NR_mount, type, place, type, flags, options);
  if (result == -ENOENT) {
    SYS2(NR_mkdir, place, 0755);
    result = SYS5(NR_mount, type, place, type, flags, options);
  }
  if (result < 0) log_errno("cannot mount ", place, result);
}

void mount_system(void) {
  const u64 safe = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  mount_at("devtmpfs", "/dev", MS_NOSUID, "mode=755");
  mount_at("proc", "/proc", safe, "");
  mount_at("sysfs", "/sys", safe, "");
  mount_at("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666");
  mount_at("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777");
  mount_at("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=755");
  mount_at("cgroup2", "/sys/fs/cgroup", safe, "");
  if (config_value("tmp") != NULL) mount_at("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777");
  SYS2(NR_symlink, "/proc/self/fd", "/dev/fd");
  SYS2(NR_symlink, "fd/0", "/dev/stdin");
  SYS2(NR_symlink, "fd/1", "/dev/stdout");
  SYS2(NR_symlink, "fd/2", "/dev/stderr");
}

/* How long a disk's driver may take to look at it. */
enum { DISK_WAIT_MS = 10000 };

static int mount_line(const struct config_line *line, const char *type) {
  const char *source = line->fields[0], *place = line->fields[1];
  u64 flags = MS_RELATIME | (same(line->fields[2], "ro") ? MS_RDONLY : 0);
  u64 until = monotonic_ms() + DISK_WAIT_MS;
  i64 result;
  make_directories(place, 0755);
  while ((result = SYS5(NR_mount, source, place, type, flags, "")) == -ENXIO && monotonic_ms() < until) pause_ms(1);
  if (result < 0) log_errno("cannot mount ", place, result);
  return result < 0;
}

int mount_extra(void) {
  struct config_line line = {.next = NULL};
  int missing = 0;
  while (config_next(&line, "disk")) missing += mount_line(&line, line.fields[3]);
  line.next = NULL;
  while (config_next(&line, "share")) missing += mount_line(&line, "virtiofs");
  return missing;
}
