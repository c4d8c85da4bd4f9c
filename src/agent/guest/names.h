#ifndef NAMES_H
#define NAMES_H

/* Host name, /etc/hostname, /etc/hosts, /etc/resolv.conf and the time zone, as far as the configuration says them. */
void set_names(void);
/* ssh keys and cloud-init's seed. */
void give_keys(void);
/* Opens the files of the initramfs that are needed once it is left behind. */
void open_seed(void);
void give_seed(void);

#endif
