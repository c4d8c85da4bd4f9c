/* Network interfaces by ioctl, so that the image needs no program for it. @source netdevice(7), rtentry in Linux include/uapi/linux/route.h.
 * Leaves out IPv6: the host's network has none, and the kernel gives link-local addresses itself. */
#include "network.h"
#include "agent.h"
#include "config.h"

enum {
  SIOCADDRT = 0x890B, SIOCGIFCONF = 0x8912, SIOCGIFFLAGS = 0x8913, SIOCSIFFLAGS = 0x8914, SIOCSIFADDR = 0x8916, SIOCGIFNETMASK = 0x891b,
  SIOCSIFNETMASK = 0x891c, SIOCSIFMTU = 0x8922, IFF_UP = 1, RTF_UP = 1, RTF_GATEWAY = 2,
  MOST_INTERFACES = 32,
  /* The device appears when its driver has looked at it. */
  DEVICE_WAIT_MS = 5000
};
struct sockaddr_in { u16 family, port; u8 address[4], zero[8]; };
struct ifreq {
  char name[16];
  union { u16 flags; i32 number; struct sockaddr_in address; u8 bytes[24]; } value;
};
struct ifconf { i32 length; struct ifreq *requests; };
struct rtentry {
  u64 pad1;
  struct sockaddr_in destination, gateway, mask;
  u16 flags;
  i16 pad2;
  u64 pad3;
  void *pad4;
  i16 metric;
  char *device;
  u64 mtu, window;
  u16 initial_rtt;
};

static i64 open_control(void) {
  return SYS3(NR_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static struct ifreq request_for(const char *name) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  append(request.name, sizeof request.name, name);
  return request;
}

static i64 bring_up(i64 control, const char *name) {
  struct ifreq request = request_for(name);
  i64 result = SYS3(NR_ioctl, control, SIOCGIFFLAGS, &request);
  request.value.flags |= IFF_UP;
  return result < 0 ? result : SYS3(NR_ioctl, control, SIOCSIFFLAGS, &request);
}

void start_loopback(void) {
  i64 control = open_control();
  if (control < 0) return;
  bring_up(control, "lo");
  close_file((int)control);
}

/* "10.0.2.15" or "10.0.2.15/24". @returns the prefix length, 32 without one, −1 if it is neither */
static int parse_address(const char *text, struct sockaddr_in *address) {
  int part = 0, value = 0, digits = 0;
  address->family = AF_INET;
  for (;; text++) {
    if (*text >= '0' && *text <= '9' && digits < 3) {
      value = value * 10 + (*text - '0');
      digits++;
      continue;
    }
    if (digits == 0 || value > 255) return -1;
    if (part < 4) address->address[part++] = (u8)value;
    if (*text == '.' && part < 4) {
      value = digits = 0;
      continue;
    }
    break;
  }
  u64 prefix = 32;
  if (part != 4 || (*text != 0 && *text != '/')) return -1;
  if (*text == '/' && (!parse_number(text + 1, &prefix) || prefix > 32)) return -1;
  return (int)prefix;
}

static i64 set_address(i64 control, const char *name, const char *text) {
  struct ifreq request = request_for(name);
  int prefix = parse_address(text, &request.value.address);
  if (prefix < 0) return -EINVAL;
  i64 result = SYS3(NR_ioctl, control, SIOCSIFADDR, &request);
  for (int i = 0; i < 4; i++) {
    int bits = prefix - 8 * i;
    request.value.address.address[i] = bits >= 8 ? 255 : bits <= 0 ? 0 : (u8)(255 << (8 - bits));
  }
  return result < 0 ? result : SYS3(NR_ioctl, control, SIOCSIFNETMASK, &request);
}

static i64 set_gateway(i64 control, const char *text) {
  struct rtentry route;
  memset(&route, 0, sizeof route);
  route.destination.family = route.mask.family = AF_INET;
  if (parse_address(text, &route.gateway) != 32) return -EINVAL;
  route.flags = RTF_UP | RTF_GATEWAY;
  return SYS3(NR_ioctl, control, SIOCADDRT, &route);
}

static i64 configure(i64 control, const struct config_line *line) {
  const char *name = line->fields[0];
  u64 mtu;
  struct ifreq request = request_for(name);
  i64 result = 0;
  u64 until = monotonic_ms() + DEVICE_WAIT_MS;
  while ((result = SYS3(NR_ioctl, control, SIOCGIFFLAGS, &request)) == -ENODEV && monotonic_ms() < until) pause_ms(1);
  if (result == 0 && parse_number(line->fields[3], &mtu)) {
    request.value.number = (i32)mtu;
    result = SYS3(NR_ioctl, control, SIOCSIFMTU, &request);
  }
  if (result == 0) result = set_address(control, name, line->fields[1]);
  if (result == 0) result = bring_up(control, name);
  if (result == 0 && line->fields[2][0] != 0) result = set_gateway(control, line->fields[2]);
  return result;
}

i64 start_network(void) {
  struct config_line line = {.next = NULL};
  start_loopback();
  if (!config_next(&line, "network")) return 0;
  i64 control = open_control();
  if (control < 0) return control;
  i64 result = configure(control, &line);
  close_file((int)control);
  return result;
}

static void put_address(i64 control, struct ifreq *request) {
  char text[64] = "";
  append(text, 17, request->name);
  append(text, sizeof text, " ");
  for (int i = 0; i < 4; i++) {
    if (i > 0) append(text, sizeof text, ".");
    append_number(text, sizeof text, request->value.address.address[i]);
  }
  u64 prefix = 0;
  SYS3(NR_ioctl, control, SIOCGIFNETMASK, request);
  for (int i = 0; i < 4; i++)
    for (u8 bits = request->value.address.address[i]; bits != 0; bits = (u8)(bits << 1)) prefix++;
  append(text, sizeof text, "/");
  append_number(text, sizeof text, prefix);
  put_text(text);
}

void put_addresses(void) {
  static struct ifreq requests[MOST_INTERFACES];
  struct ifconf list = {sizeof requests, requests};
  i64 control = open_control();
  u32 count = control >= 0 && SYS3(NR_ioctl, control, SIOCGIFCONF, &list) == 0 ? (u32)list.length / sizeof requests[0] : 0;
  put_u32(count);
  for (u32 i = 0; i < count; i++) put_address(control, &requests[i]);
  close_file((int)control);
}
