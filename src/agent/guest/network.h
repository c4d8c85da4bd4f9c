#ifndef NETWORK_H
#define NETWORK_H
#include "sys.h"

void start_loopback(void);
/* By the configuration's "network" line. @returns 0, or −errno when there is no such interface or it does not take its address */
i64 start_network(void);
/* Adds the interfaces' IPv4 addresses to the frame: their number, then texts "eth0 10.0.2.15/24". */
void put_addresses(void);

#endif
