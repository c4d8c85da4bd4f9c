#ifndef MOUNTS_H
#define MOUNTS_H

/* Mounts what programs expect of a Linux system. A mount point that is missing and cannot be made is told in the log and passed over. */
void mount_system(void);

/* The configuration's disks and shares. Tells how many of them are not there. */
int mount_extra(void);

#endif
