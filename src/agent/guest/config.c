/* The configuration in the initramfs (config.h). It is Mere's own, so that a line that makes no sense is passed over. */
#include "config.h"
#include "agent.h"

static char text[256 << 10];
static u64 text_length;

int config_read(const char *path) {
  i64 length = read_file(path, text, sizeof text);
  if (length < 0) return 0;
  text_length = (u64)length;
  for (u64 i = 0; i < text_length; i++)
    if (text[i] == '\n') text[i] = 0;
  return 1;
}

/* The line that was found last, split into its fields; the text itself stays whole for the next search. */
static char copy[20 << 10];

int config_next(struct config_line *line, const char *word) {
  char *at = line->next == NULL ? text : line->next;
  for (; at < text + text_length; at += length_of(at) + 1) {
    const char *tab = find_char(at, '\t');
    u64 length = tab == NULL ? length_of(at) : (u64)(tab - at);
    if (length != length_of(word) || !same_bytes(at, word, length) || length_of(at) >= sizeof copy) continue;
    memcpy(copy, at, length_of(at) + 1);
    line->next = at + length_of(at) + 1;
    line->count = 0;
    char *end = copy + length_of(copy);
    for (char *field = copy; field <= end && line->count < MOST_FIELDS; field += length_of(field) + 1) {
      char *stop = (char *)find_char(field, '\t');
      if (stop != NULL) *stop = 0;
      if (field != copy) line->fields[line->count++] = field;
      if (stop == NULL) break;
    }
    for (int i = line->count; i < MOST_FIELDS; i++) line->fields[i] = end;
    return 1;
  }
  return 0;
}

const char *config_value(const char *word) {
  static struct config_line line;
  line.next = NULL;
  return config_next(&line, word) ? line.fields[0] : NULL;
}
