#ifndef NETWORK_H
#define NETWORK_H

void start_loopback(void);

#endif
