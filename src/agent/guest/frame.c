/* Frames on the connection of this process: one buffer for what comes, one for what goes. Everything that the peer says of lengths is checked here. */
#include "agent.h"

/* The host closes as soon as it has the answer. */
enum { FINISH_MS = 5000 };

int connection = -1;
u8 *frame_payload;
u32 frame_length;
u8 frame_type;

static u8 input[FRAME_HEADER_BYTES + FRAME_LIMIT_BYTES + 1];
static u64 input_start, input_end;
/* A frame with an error and some small ones always find room beside one full of data. */
static u8 output[2 * DATA_LIMIT_BYTES];
static u64 output_start, output_end, frame_start;

static u32 load_u32(const u8 *at) {
  return (u32)at[0] | (u32)at[1] << 8 | (u32)at[2] << 16 | (u32)at[3] << 24;
}

static void store_u32(u8 *at, u32 value) {
  at[0] = (u8)value;
  at[1] = (u8)(value >> 8);
  at[2] = (u8)(value >> 16);
  at[3] = (u8)(value >> 24);
}

void connection_start(int fd) {
  connection = fd;
  input_start = input_end = output_start = output_end = 0;
  SYS3(NR_fcntl, fd, F_SETFL, O_NONBLOCK);
}

int frame_take(void) {
  u64 have = input_end - input_start;
  if (have < FRAME_HEADER_BYTES) return 0;
  u32 length = load_u32(input + input_start);
  if (length > FRAME_LIMIT_BYTES) return -1;
  if (have < FRAME_HEADER_BYTES + (u64)length) return 0;
  frame_length = length;
  frame_type = input[input_start + 4];
  frame_payload = input + input_start + FRAME_HEADER_BYTES;
  input_start += FRAME_HEADER_BYTES + (u64)length;
  return 1;
}

int connection_fill(void) {
  if (input_start > 0) {
    memmove(input, input + input_start, input_end - input_start);
    input_end -= input_start;
    input_start = 0;
  }
  for (;;) {
    i64 got = SYS3(NR_read, connection, input + input_end, sizeof input - input_end);
    if (got == -EINTR) continue;
    if (got == -EAGAIN) return 1;
    if (got <= 0) return 0;
    input_end += (u64)got;
    return 1;
  }
}

int frame_wait(void) {
  for (;;) {
    int taken = frame_take();
    if (taken != 0) return taken > 0;
    struct pollfd wait = {connection, POLLIN, 0};
    SYS3(NR_poll, &wait, 1, -1);
    if (!connection_fill()) return 0;
  }
}

struct reader frame_reader(void) {
  struct reader reader = {frame_payload, frame_payload + frame_length, 0};
  return reader;
}

static u64 get_number(struct reader *reader, int bytes) {
  u64 value = 0;
  if (reader->end - reader->at < bytes) {
    reader->bad = 1;
    return 0;
  }
  for (int i = 0; i < bytes; i++) value |= (u64)reader->at[i] << (8 * i);
  reader->at += bytes;
  return value;
}

u8 get_u8(struct reader *reader) { return (u8)get_number(reader, 1); }
u16 get_u16(struct reader *reader) { return (u16)get_number(reader, 2); }
u32 get_u32(struct reader *reader) { return (u32)get_number(reader, 4); }
u64 get_u64(struct reader *reader) { return get_number(reader, 8); }

const char *get_text(struct reader *reader) {
  u64 length = get_u32(reader);
  const char *text = (const char *)reader->at;
  if (reader->bad || (u64)(reader->end - reader->at) < length + 1) {
    reader->bad = 1;
    return "";
  }
  for (u64 i = 0; i < length; i++)
    if (text[i] == 0) reader->bad = 1;
  if (text[length] != 0) reader->bad = 1;
  if (reader->bad) return "";
  reader->at += length + 1;
  return text;
}

void frame_begin(u8 type) {
  frame_start = output_end;
  if (output_end + FRAME_HEADER_BYTES > sizeof output) return;
  output[output_end + 4] = type;
  output_end += FRAME_HEADER_BYTES;
}

void put_bytes(const void *bytes, u64 count) {
  if (count > sizeof output - output_end) return;
  memcpy(output + output_end, bytes, count);
  output_end += count;
}

static void put_number(u64 value, int bytes) {
  u8 little[8];
  for (int i = 0; i < bytes; i++) little[i] = (u8)(value >> (8 * i));
  put_bytes(little, (u64)bytes);
}

void put_u8(u8 value) { put_number(value, 1); }
void put_u16(u16 value) { put_number(value, 2); }
void put_u32(u32 value) { put_number(value, 4); }
void put_u64(u64 value) { put_number(value, 8); }

void put_text(const char *text) {
  u64 length = length_of(text);
  put_u32((u32)length);
  put_bytes(text, length + 1);
}

void frame_end(void) {
  store_u32(output + frame_start, (u32)(output_end - frame_start - FRAME_HEADER_BYTES));
}

u64 frame_room(void) {
  u64 used = output_end - output_start;
  if (used > DATA_LIMIT_BYTES / 2) return 0;
  if (output_start > 0) {
    memmove(output, output + output_start, used);
    output_start = 0;
    output_end = used;
  }
  u64 room = sizeof output - output_end - DATA_LIMIT_BYTES / 4;
  return room > DATA_LIMIT_BYTES ? DATA_LIMIT_BYTES : room;
}

u8 *frame_data_begin(u8 type) {
  frame_begin(type);
  return output + output_end;
}

void frame_data_end(u64 count) {
  output_end += count;
  frame_end();
}

void frame_undo(void) { output_end = frame_start; }

u64 connection_pending(void) { return output_end - output_start; }

int connection_push(void) {
  while (output_start < output_end) {
    i64 done = SYS6_SEND(connection, output + output_start, output_end - output_start);
    if (done == -EINTR) continue;
    if (done == -EAGAIN) return 1;
    if (done <= 0) return 0;
    output_start += (u64)done;
  }
  output_start = output_end = 0;
  return 1;
}

int connection_flush(void) {
  for (;;) {
    if (!connection_push()) return 0;
    if (output_end == 0) return 1;
    struct pollfd wait = {connection, POLLOUT, 0};
    SYS3(NR_poll, &wait, 1, -1);
  }
}

/* Whoever closes with something unread breaks the connection off, and the peer may lose what was sent last. */
void connection_finish(void) {
  u64 until = monotonic_ms() + FINISH_MS;
  if (!connection_flush() || SYS2(NR_shutdown, connection, SHUT_WR) < 0) return;
  for (u64 now = monotonic_ms(); now < until; now = monotonic_ms()) {
    struct pollfd wait = {connection, POLLIN, 0};
    input_start = input_end = 0;
    if (SYS3(NR_poll, &wait, 1, until - now) > 0 && !connection_fill()) return;
  }
}

void send_error(u16 code, i64 error, const char *detail) {
  frame_begin(OUT_ERROR);
  put_u16(code);
  put_u32((u32)(error < 0 ? -error : error));
  put_text(detail);
  frame_end();
  connection_flush();
}

void send_done(void) {
  frame_begin(OUT_DONE);
  frame_end();
  connection_flush();
}
