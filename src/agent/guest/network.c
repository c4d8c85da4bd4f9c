/* Network interfaces by ioctl, so that the image needs no program for it. @source netdevice(7), rtnetlink(7). Leaves out IPv6 addresses of the configuration: routers announce them. */
#include "network.h"
#include "agent.h"

enum { SIOCGIFFLAGS = 0x8913, SIOCSIFFLAGS = 0x8914, IFF_UP = 1 };
struct ifreq {
  char name[16];
  union { u16 flags; i32 number; u8 address[16]; u8 bytes[24]; } value;
};

void start_loopback(void) {
  struct ifreq request = {.name = "lo"};
  i64 fd = SYS3(NR_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  if (SYS3(NR_ioctl, fd, SIOCGIFFLAGS, &request) == 0) {
    request.value.flags |= IFF_UP;
    SYS3(NR_ioctl, fd, SIOCSIFFLAGS, &request);
  }
  close_file((int)fd);
}
