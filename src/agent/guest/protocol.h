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
  OP_EXEC = 1,
  OP_READ = 2,
  OP_WRITE = 3,
  OP_LIST = 4,
  OP_STAT = 5,
  OP_MAKE_DIRECTORY = 6,
  OP_REMOVE = 7,
  OP_RENAME = 8,
  OP_READ_LINK = 9,
  OP_SYMLINK = 10,
  OP_CHANGE_MODE = 11,
  OP_CHANGE_OWNER = 12,
  OP_WATCH = 13,
  OP_COPY_OUT = 14,
  OP_COPY_IN = 15,
  OP_CLOCK = 16,
  OP_SYNC = 17,
  OP_POWER = 18,
  OP_INFO = 19,
  OP_FREEZE = 20
};

/* Host to agent, during an operation. */
enum {
  IN_STDIN = 0x40,
  IN_SIGNAL = 0x41,
  IN_RESIZE = 0x42,
  IN_CREDIT = 0x43,
  /* An empty one ends a file. */
  IN_DATA = 0x44,
  IN_ENTRY = 0x45,
  IN_END = 0x46
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
  /* An empty one ends a file. */
  OUT_DATA = 0x87,
  OUT_ENTRY = 0x88,
  OUT_EVENT = 0x89,
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

/* Flags of OP_WRITE. */
enum {
  WRITE_APPEND = 1,
  WRITE_NEW = 2
};

/* In OUT_EVENT of OP_WATCH. */
enum {
  EVENT_CREATED = 1,
  EVENT_CHANGED = 2,
  EVENT_REMOVED = 3,
  /* Some were lost: look again. */
  EVENT_OVERFLOW = 4
};

#endif
