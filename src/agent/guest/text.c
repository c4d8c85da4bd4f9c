/* Texts that end in NUL, and numbers in them. */
#include "agent.h"

u64 length_of(const char *text) {
  u64 length = 0;
  while (text[length]) length++;
  return length;
}

int same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

int same_bytes(const void *a, const void *b, u64 count) {
  const u8 *x = a, *y = b;
  for (u64 i = 0; i < count; i++)
    if (x[i] != y[i]) return 0;
  return 1;
}

int starts_with(const char *text, const char *start) {
  while (*start)
    if (*text++ != *start++) return 0;
  return 1;
}

const char *find_char(const char *text, char wanted) {
  for (; *text; text++)
    if (*text == wanted) return text;
  return NULL;
}

int append(char *buffer, u64 size, const char *text) {
  u64 at = length_of(buffer);
  u64 count = length_of(text);
  if (at + count + 1 > size) return 0;
  memcpy(buffer + at, text, count + 1);
  return 1;
}

int append_number(char *buffer, u64 size, u64 value) {
  char digits[24];
  int at = 23;
  digits[at] = 0;
  do digits[--at] = (char)('0' + value % 10);
  while ((value /= 10) != 0);
  return append(buffer, size, digits + at);
}

int parse_number(const char *text, u64 *value) {
  u64 result = 0;
  if (!*text) return 0;
  for (; *text; text++) {
    if (*text < '0' || *text > '9' || result > 0xffffffffffffffffUL / 10 - 1) return 0;
    result = result * 10 + (u64)(*text - '0');
  }
  *value = result;
  return 1;
}
