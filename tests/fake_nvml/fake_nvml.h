/* What the fake NVML and the tests that drive it share: a file of this size, mapped by both. */
#ifndef GAMEFORGE_FAKE_NVML_H
#define GAMEFORGE_FAKE_NVML_H

#include <stdint.h>

#define FAKE_NVML_VARIABLE "GAMEFORGE_FAKE_NVML" /* Names the file. */
#define FAKE_NVML_CARDS 4
#define FAKE_NVML_PROCESSES 8

/* Each word is read and written by itself, as an aligned 64-bit number. */
typedef struct fake_nvml_card {
  uint64_t total;
  uint64_t used;
  uint64_t lost;  /* Non-zero: questions about it fail with NVML_ERROR_GPU_IS_LOST. */
  uint64_t reads; /* How often its memory was asked for; the library counts. */
  uint64_t process_count;
  uint64_t process_pid[FAKE_NVML_PROCESSES];
  uint64_t process_bytes[FAKE_NVML_PROCESSES];
} fake_nvml_card;

typedef struct fake_nvml_state {
  uint64_t card_count;
  uint64_t init_fails; /* The code that nvmlInit_v2 gives; 0: it works. */
  uint64_t open;       /* nvmlInit_v2 less nvmlShutdown. */
  fake_nvml_card cards[FAKE_NVML_CARDS];
} fake_nvml_state;

#endif
