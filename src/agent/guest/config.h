#ifndef CONFIG_H
#define CONFIG_H

enum { MOST_FIELDS = 12 };
/* The initramfs's configuration: lines of fields between tabs, the first of which says what the line is (src/agent/initramfs.ts writes it).
 * Read once; a line is gone through with config_next, which starts anew with `line` NULL. */
struct config_line { char *fields[MOST_FIELDS]; int count; char *next; };

int config_read(const char *path);
/* Finds the next line that begins with `word`. Fields that are not there are "". @returns was there one */
int config_next(struct config_line *line, const char *word);
/* The first such line's first field, or NULL. */
const char *config_value(const char *word);

#endif
