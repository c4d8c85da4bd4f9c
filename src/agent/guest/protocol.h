/* The protocol between agent and host, as src/agent/protocol.ts has it (a test compares them). Little-endian.
 *
 *   frame    u32 length of the payload · u8 type · payload
 *   text     u32 length · bytes without NUL · NUL
 *
 * The first frame of a connection is a request: u16 version, then its fields. What follows depends on the request. */
#ifndef PROTOCOL_H
#define PROTOCOL_H

enum {
  PROTOCOL_VERSION = 1,
  /* Ports below 1024 are root's to bind: no other program of the guest passes for the agent. */
  PORT_AGENT = 1023,
  PORT_READY = 1022,
  FRAME_HEADER_BYTES = 5,
  /* Requests carry whole argument lists. */
  FRAME_LIMIT_BYTES = 1 << 20,
  DATA_LIMIT_BYTES = 64 << 10,
  /* How much of one stream may be under way before the receiver said that it has taken it. */
  STREAM_WINDOW_BYTES = 256 << 10
};

/* Requests. */
enum {
  OP_EXEC = 1
};

/* Host to agent, during an operation. */
enum {
  IN_STDIN = 0x40,
  IN_SIGNAL = 0x41,
  IN_RESIZE = 0x42,
  IN_CREDIT = 0x43
};

/* Agent to host. */
enum {
  OUT_ERROR = 0x80,
  OUT_DONE = 0x81,
  OUT_STARTED = 0x82,
  OUT_STDOUT = 0x83,
  OUT_STDERR = 0x84,
  OUT_EXIT = 0x85,
  OUT_STDIN_TAKEN = 0x86,
  OUT_READY = 0x90
};

/* In OUT_ERROR. */
enum {
  ERROR_SYSTEM = 1,
  ERROR_BAD_REQUEST = 2,
  ERROR_VERSION = 3,
  ERROR_LIMIT = 4,
  ERROR_COMMAND_NOT_FOUND = 5,
  ERROR_COMMAND_NOT_EXECUTABLE = 6,
  ERROR_NO_SUCH_USER = 7,
  ERROR_NO_SUCH_GROUP = 8,
  ERROR_NO_SUCH_DIRECTORY = 9
};

#endif
