/* What the guest says of itself. @source proc(5), sysinfo(2), netdevice(7) */
#include "agent.h"
#include "network.h"

struct sysinfo {
  i64 uptime;
  u64 loads[3], total, free, shared, buffer, swap_total, swap_free;
  u16 processes, pad;
  u64 high_total, high_free;
  u32 unit;
  char rest[8];
};
struct utsname { char sysname[65], nodename[65], release[65], version[65], machine[65], domain[65]; };

/* A line "Name:   123 kB" of /proc/meminfo. @returns bytes, 0 if there is none */
static u64 memory_line(const char *text, const char *name) {
  for (; text != NULL && *text; text = find_char(text, '\n') == NULL ? NULL : find_char(text, '\n') + 1) {
    if (!starts_with(text, name)) continue;
    u64 kib = 0;
    for (text += length_of(name); *text == ' '; text++) {}
    for (; *text >= '0' && *text <= '9'; text++) kib = kib * 10 + (u64)(*text - '0');
    return kib << 10;
  }
  return 0;
}

void run_info(struct reader *request) {
  static char memory[8192];
  static struct utsname names;
  struct sysinfo info;
  if (request->bad) return send_bad_request();
  memset(&info, 0, sizeof info);
  SYS1(NR_sysinfo, &info);
  SYS1(NR_uname, &names);
  if (read_file("/proc/meminfo", memory, sizeof memory) < 0) memory[0] = 0;
  frame_begin(OUT_DONE);
  put_u64(boot_time_us());
  for (int i = 0; i < 3; i++) put_u32((u32)info.loads[i]);
  put_u32(info.processes);
  put_u64(info.total * info.unit);
  put_u64(info.free * info.unit);
  put_u64(memory_line(memory, "MemAvailable:"));
  put_u64(memory_line(memory, "Buffers:") + memory_line(memory, "Cached:"));
  put_u64(info.swap_total * info.unit);
  put_u64(info.swap_free * info.unit);
  put_text(names.release);
  put_text(names.nodename);
  put_addresses();
  frame_end();
  connection_flush();
}
