/* What the files of the agent know of each other. One process serves one connection, so its connection and buffers are global to it. */
#ifndef AGENT_H
#define AGENT_H
#include "protocol.h"
#include "sys.h"

enum { PATH_BYTES = 4096 };

/* start.c */
void *memcpy(void *to, const void *from, u64 count);
void *memmove(void *to, const void *from, u64 count);
void *memset(void *at, int value, u64 count);

/* text.c */
u64 length_of(const char *text);
int same(const char *a, const char *b);
int same_bytes(const void *a, const void *b, u64 count);
int starts_with(const char *text, const char *start);
const char *find_char(const char *text, char wanted);
/* Adds to the text in a buffer of `size` bytes; what finds no room is left out. @returns was there room */
int append(char *buffer, u64 size, const char *text);
int append_number(char *buffer, u64 size, u64 value);
/* @returns was the whole text a decimal number */
int parse_number(const char *text, u64 *value);

/* system.c: small sequences of system calls that several files need. */
void exit_process(int status);
i64 open_file(const char *path, int flags, int mode);
void close_file(int fd);
/* Writes a small file in place. @returns 0 or −errno */
i64 write_file(const char *path, const char *text, int mode);
/* Reads a file's first bytes; ends them with NUL. @returns bytes or −errno */
i64 read_file(const char *path, char *buffer, u64 size);
i64 write_all(int fd, const void *bytes, u64 count);
/* No SIGPIPE when the peer is gone. */
#define SYS6_SEND(fd, bytes, count) sys6(NR_sendto, fd, (i64)(bytes), (i64)(count), MSG_NOSIGNAL, 0, 0)
void make_directories(const char *path, int mode);
void pause_ms(u64 ms);
u64 monotonic_ms(void);
u64 boot_time_us(void);
/* Tells the kernel's log, which is on the serial port; and keeps it in log_text, a line each, for the greeting. */
extern char log_text[4096];
void log_line(const char *a, const char *b, const char *c);
void log_errno(const char *what, const char *name, i64 error);

/* frame.c */
struct reader { const u8 *at, *end; int bad; };
extern int connection;
/* The frame that was read last. */
extern u8 *frame_payload;
extern u32 frame_length;
extern u8 frame_type;
void connection_start(int fd);
/* Waits for the next frame. @returns 1, or 0 when the connection has ended or the peer breaks the protocol */
int frame_wait(void);
/* Takes a frame that is wholly there. @returns 1; 0 if there is none yet; −1 when it breaks the protocol */
int frame_take(void);
/* Reads what is there without waiting. @returns 0 when the connection has ended */
int connection_fill(void);
struct reader frame_reader(void);
u8 get_u8(struct reader *reader);
u16 get_u16(struct reader *reader);
u32 get_u32(struct reader *reader);
u64 get_u64(struct reader *reader);
/* @returns a text in the frame, ended by NUL and with none inside; "" once the reader is bad */
const char *get_text(struct reader *reader);
/* Frames to send are made in one buffer: begin, put…, end. They leave with connection_flush (which waits) or connection_push (which does not). */
void frame_begin(u8 type);
void put_u8(u8 value);
void put_u16(u16 value);
void put_u32(u32 value);
void put_u64(u64 value);
void put_text(const char *text);
void put_bytes(const void *bytes, u64 count);
void frame_end(void);
/* Room for data in a frame begun now. */
u64 frame_room(void);
/* Where that data goes; frame_data_end tells how much it became. */
u8 *frame_data_begin(u8 type);
void frame_data_end(u64 count);
/* Takes back the frame begun last. */
void frame_undo(void);
u64 connection_pending(void);
/* @returns 0 when the connection has ended */
int connection_push(void);
int connection_flush(void);
/* Sends what is left, says that nothing more comes, and waits until the host has closed. */
void connection_finish(void);
void send_error(u16 code, i64 error, const char *detail);
void send_done(void);

/* What the agent is here: under test it neither ends the machine nor sets its clock. */
enum { ROLE_TEST = 0, ROLE_INIT = 1, ROLE_BESIDE_INIT = 2 };
extern int agent_role;

/* serve.c */
void serve(int listener, int is_vsock);
i64 listen_vsock(u32 port);
i64 listen_unix(const char *path);

/* boot.c. @param own_name the agent's argv[0], which it may write */
void boot(char *own_name);

/* operations: each answers one request, and is called once in a process. */
void run_exec(struct reader *request);
void run_read(struct reader *request);
void run_write(struct reader *request);
void run_list(struct reader *request);
void run_stat(struct reader *request);
void run_make_directory(struct reader *request);
void run_remove(struct reader *request);
void run_rename(struct reader *request);
void run_read_link(struct reader *request);
void run_symlink(struct reader *request);
void run_change_mode(struct reader *request);
void run_change_owner(struct reader *request);
void run_watch(struct reader *request);
void run_copy_out(struct reader *request);
void run_copy_in(struct reader *request);
void run_clock(struct reader *request);
void run_sync(struct reader *request);
void run_freeze(struct reader *request);
void thaw_root(void);
void run_power(struct reader *request);
void run_info(struct reader *request);

/* files.c. Says how an operation ended: OUT_DONE for 0 and more, else the error about a path. */
void send_result(i64 result, const char *path);
void send_bad_request(void);
/* mode uid gid size mtime: the fields of a file, wherever one is told. */
void put_stat(const struct stat *stat);

#endif
