/**
 * gameforge.h: the C ABI of GameForge, GPU-managed asset generation for game engines and editors. C99 and C++.
 *
 * A host opens an engine, submits requests, polls events and takes images:
 *
 *     gf_engine_options options = GF_ENGINE_OPTIONS_INIT;
 *     const char* folder = "models";
 *     options.model_folders = &folder;
 *     options.model_folder_count = 1;
 *     gf_engine* engine = NULL;
 *     if (gf_engine_open(&options, &engine) != GF_OK) { puts(gf_last_error_message()); return 1; }
 *
 *     gf_request request = GF_REQUEST_INIT;
 *     request.model = "gameforge-tiles";
 *     request.prompt = "a red potion";
 *     gf_job_id job;
 *     gf_job_info info = GF_JOB_INFO_INIT;
 *     gf_image* image = NULL;
 *     if (gf_engine_submit(engine, &request, &job) == GF_OK &&
 *         gf_job_wait(engine, &job, 60 * 1000000, &info) == GF_OK && info.status == GF_OK &&
 *         gf_job_image(engine, &job, 0, &image) == GF_OK) {
 *       gf_image_write_png(image, NULL, "potion.png");
 *     }
 *     gf_image_release(image);
 *     gf_engine_close(engine, 1000000);
 *
 * Rules that hold for every function:
 *  - Text is UTF-8 and ends with NUL. Times are microseconds, sizes bytes, lengths of pictures pixels.
 *  - A struct that goes in begins with struct_size, which its INIT macro sets. A later version of this header may add
 *    fields at the end, for which 0 means the default; so an old caller and a new library agree, and the other way
 *    round as long as the new fields are 0. No struct has padding.
 *  - A struct that comes out begins with struct_size too: the caller sets it, and at most so many bytes are written.
 *  - Text that comes out takes (char* buffer, uint64_t* size): *size holds the buffer's bytes and receives what the
 *    text needs, its NUL included. A NULL buffer only asks, and GF_OK is the answer; one that is too small gives
 *    GF_ERR_BUFFER_TOO_SMALL and is left alone.
 *  - Handles are no addresses: one that was released, or never given, is GF_ERR_INVALID_HANDLE and never followed.
 *  - No function waits longer than its timeout; one without a timeout does not wait for work to be done.
 *  - The library prints nothing, reads no environment and no configuration by itself, installs no handler, and no
 *    exception leaves it. Its threads block every signal.
 *  - It stays mapped once it is loaded (dlclose does nothing); gf_engine_close ends every thread and frees everything.
 */
#ifndef GAMEFORGE_GAMEFORGE_H
#define GAMEFORGE_GAMEFORGE_H

#include <stdint.h>

#ifndef GF_API
#if defined(_WIN32) && defined(GF_BUILDING_LIBRARY)
#define GF_API __declspec(dllexport)
#elif defined(_WIN32)
#define GF_API __declspec(dllimport)
#else
#define GF_API __attribute__((visibility("default")))
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this header. The library's own is gf_version's. */
#define GF_VERSION_MAJOR 0
#define GF_VERSION_MINOR 1
#define GF_VERSION_PATCH 0

/* ---- Status ----------------------------------------------------------------------------------------------------- */

/**
 * What every call returns. Codes are grouped by hundreds and keep their meaning for ever. New ones may join a group, so
 * judge a code that you do not know by its group. gf_status_describe tells of each what to do.
 */
typedef enum gf_status {
  GF_OK = 0,
  GF_ERR_INVALID_ARGUMENT = 101, /**< 1xx, the caller: an argument is out of its range. */
  GF_ERR_NOT_FOUND = 102,        /**< A file, model or job of that name does not exist. */
  GF_ERR_ALREADY_EXISTS = 103,
  GF_ERR_WRONG_STATE = 104, /**< The object is not in the state that the call needs. */
  GF_ERR_UNSUPPORTED = 105, /**< What was asked is unknown to this version of the library. */
  GF_ERR_UNAUTHORISED = 106,
  GF_ERR_INVALID_HANDLE = 107,    /**< The handle was released, or never given. */
  GF_ERR_BUFFER_TOO_SMALL = 108,  /**< *size says what is needed. */
  GF_ERR_PAYLOAD_TOO_LARGE = 109, /**< Larger than the limit that the message names. */
  GF_ERR_CANCELLED = 201,         /**< 2xx, flow. */
  GF_ERR_TIMED_OUT = 202,
  GF_ERR_WOULD_BLOCK = 203,  /**< Nothing there now. */
  GF_ERR_RATE_LIMITED = 204, /**< Try again after the given wait. */
  GF_ERR_QUEUE_FULL = 205,
  GF_ERR_OVER_BUDGET = 206, /**< Refused before it began; the message names the bytes. */
  GF_ERR_BREAKER_OPEN = 207,
  GF_ERR_LEASE_LOST = 208,
  GF_ERR_SHUTTING_DOWN = 209,
  GF_ERR_OUT_OF_HOST_MEMORY = 301, /**< 3xx, memory and device. */
  GF_ERR_OUT_OF_DEVICE_MEMORY = 302,
  GF_ERR_DEVICE_LOST = 303,
  GF_ERR_BACKEND_MISSING = 304,       /**< libgameforge_torch.so, or what it needs, was not found. */
  GF_ERR_BACKEND_VERSION_CLASH = 305, /**< It was found, but is of another version. */
  GF_ERR_SYMBOL_CLASH = 306,
  GF_ERR_CORRUPT_FILE = 401, /**< 4xx, data. */
  GF_ERR_UNSUPPORTED_FORMAT = 402,
  GF_ERR_CHECKSUM_MISMATCH = 403,
  GF_ERR_SCHEMA_DRIFT = 404,
  GF_ERR_SCHEMA_TOO_NEW = 405,
  GF_ERR_SYNTAX_ERROR = 406,
  GF_ERR_NOT_FINITE = 407, /**< The result holds infinities or NaN. */
  GF_ERR_IO = 501,         /**< 5xx, environment. */
  GF_ERR_NETWORK = 502,
  GF_ERR_REDIS = 503,
  GF_ERR_DATABASE = 504,
  GF_ERR_DISK_FULL = 505,
  GF_ERR_LOCKED = 506,
  GF_ERR_INTERNAL = 901,          /**< 9xx, a bug of ours. The library stays usable. */
  GF_ERR_TORCH_EXCEPTION = 902,   /**< libtorch threw something that no closer status fits. */
  GF_STATUS_FORCE_32 = 0x7FFFFFFF /**< Never returned: makes the enum 32 bits wide for every compiler. */
} gf_status;

/** How loudly a status asks for attention. */
typedef enum gf_severity {
  GF_SEVERITY_NONE = 0,
  GF_SEVERITY_INFO = 1,
  GF_SEVERITY_WARNING = 2,
  GF_SEVERITY_ERROR = 3,
  GF_SEVERITY_FATAL = 4
} gf_severity;

/** One row of the status table. */
typedef struct gf_status_description {
  uint32_t struct_size; /**< Set by the caller: GF_STATUS_DESCRIPTION_INIT. */
  uint32_t status;      /**< gf_status. */
  uint32_t severity;    /**< gf_severity. */
  uint32_t retryable;   /**< 1 when the same call may succeed later, else 0. */
  const char* name;     /**< "queue_full"; static. */
  const char* hint;     /**< What to do, in English; static. */
} gf_status_description;

#define GF_STATUS_DESCRIPTION_INIT \
  { sizeof(gf_status_description), 0, 0, 0, 0, 0 }

/**
 * Gives the name of a status, such as "queue_full".
 *
 * Returns: never NULL; "unknown" for a number that this version does not know.
 * Ownership: static text of the library.
 * Threads: any.
 * Blocks: never.
 */
GF_API const char* gf_status_name(uint32_t status);

/**
 * Gives a row of the status table by its place, for bindings that make exceptions or enums from it.
 *
 * index:           from 0; rows rise by number.
 * out_description: struct_size set by the caller.
 *
 * Errors: GF_ERR_NOT_FOUND past the last row; GF_ERR_INVALID_ARGUMENT.
 * Ownership: nothing passes; the texts are static.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_status_table(uint32_t index, gf_status_description* out_description);

/**
 * Gives the row of one status.
 *
 * Errors: GF_ERR_NOT_FOUND for a number that this version does not know; GF_ERR_INVALID_ARGUMENT.
 * Ownership: nothing passes; the texts are static.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_status_describe(uint32_t status, gf_status_description* out_description);

/**
 * Says which status the last failed call on this thread returned.
 *
 * Returns: GF_OK when none has failed; a call that succeeds leaves it as it is.
 * Ownership: nothing passes.
 * Threads: any; each has its own.
 * Blocks: never.
 */
GF_API gf_status gf_last_error_status(void);

/**
 * Says why the last failed call on this thread failed: one sentence in English, for people and logs.
 *
 * Returns: never NULL. Empty when no call has failed on this thread; a call that succeeds leaves it as it is.
 * Ownership: the library's; valid until the next call that fails on this thread.
 * Threads: any; each has its own message.
 * Blocks: never.
 */
GF_API const char* gf_last_error_message(void);

/**
 * Gives all that is known of the last failed call on this thread as one JSON object: {"status", "name", "message",
 * "causes": [{"status", "name", "message"}, ...] from near to far, "retryable", "hint"}.
 *
 * Errors: GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_ARGUMENT. Neither replaces the error that is asked for.
 * Ownership: the buffer is the caller's.
 * Threads: any; each has its own.
 * Blocks: never.
 */
GF_API gf_status gf_last_error_json(char* buffer, uint64_t* size);

/* ---- Version ---------------------------------------------------------------------------------------------------- */

/**
 * Gives the library's version as 10000 * major + 100 * minor + patch.
 *
 * Returns: 100 for 0.1.0.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API uint32_t gf_version(void);

/**
 * Gives the library's version as text, such as "0.1.0".
 *
 * Returns: never NULL.
 * Ownership: static text of the library.
 * Threads: any.
 * Blocks: never.
 */
GF_API const char* gf_version_text(void);

/**
 * Gives the version of the library and of each part that it was linked with, as one JSON object.
 *
 * Errors: GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_version_json(char* buffer, uint64_t* size);

/* ---- Log -------------------------------------------------------------------------------------------------------- */

/** Levels of a log line, and of what an engine lets through: everything up to the named level. */
typedef enum gf_log_level {
  GF_LOG_OFF = 0, /**< Nothing; the default. */
  GF_LOG_ERROR = 1,
  GF_LOG_WARNING = 2,
  GF_LOG_INFO = 3,
  GF_LOG_DEBUG = 4
} gf_log_level;

/** One log line. */
typedef struct gf_log_record {
  uint32_t struct_size; /**< Set by the caller: GF_LOG_RECORD_INIT. */
  uint32_t level;       /**< gf_log_level. */
  int64_t unix_us;      /**< When it was written: microseconds since the Unix epoch. */
  uint64_t
      dropped; /**< Above 0: this line tells that so many were lost for want of room, or were not polled in time. */
  uint64_t repeated; /**< Above 0: this line stands for so many like it that were left out. */
} gf_log_record;

#define GF_LOG_RECORD_INIT \
  { sizeof(gf_log_record), 0, 0, 0, 0 }

/**
 * Receives the log lines of one engine, one call at a time, on a thread of the engine. May call anything but
 * gf_engine_close. `module` and `message` are valid during the call.
 */
typedef void (*gf_log_callback)(void* user_data, const gf_log_record* record, const char* module, const char* message);

/* ---- Engine ----------------------------------------------------------------------------------------------------- */

/** An engine: executors, models and a queue of jobs. From gf_engine_open, to gf_engine_close. */
typedef struct gf_engine gf_engine;

/** A job: made at submit, the same on every machine, never used again. A UUID version 7; always passed by pointer. */
typedef struct gf_job_id {
  uint64_t high; /**< The first 16 of its 32 hex digits. */
  uint64_t low;
} gf_job_id;

/** What an event tells. */
typedef enum gf_event_type {
  GF_EVENT_ACCEPTED = 1,  /**< The job is in the queue, and will end in one of the terminal events. */
  GF_EVENT_REJECTED = 2,  /**< Terminal: it never began; status says why. */
  GF_EVENT_STARTED = 3,   /**< An executor has taken it. */
  GF_EVENT_PROGRESS = 4,  /**< stage, step and total moved. Only the newest of each job is kept. */
  GF_EVENT_IMAGE = 5,     /**< The image number `image` is ready to be taken. Only the newest of each job is kept. */
  GF_EVENT_DONE = 6,      /**< Terminal: every image is ready. */
  GF_EVENT_FAILED = 7,    /**< Terminal: status, and gf_job_error_json. */
  GF_EVENT_CANCELLED = 8, /**< Terminal; images that were finished before can still be taken. */
  GF_EVENT_MEMORY_PRESSURE = 9 /**< Of no job, and only once gf_engine_set_pressure_events asked for them: step is the
                                    gf_memory_pressure, total the one before, image the device. Only the newest of a
                                    device is kept. */
} gf_event_type;

/** Where a job is. */
typedef enum gf_stage {
  GF_STAGE_QUEUED = 0,
  GF_STAGE_LOADING = 1,  /**< step of total: bytes of weights, in KiB. */
  GF_STAGE_ENCODING = 2, /**< step of total: text encoders. */
  GF_STAGE_SAMPLING = 3, /**< step of total: sampler steps of the image `image`. */
  GF_STAGE_DECODING = 4, /**< step of total: decoder tiles. */
  GF_STAGE_STORING = 5
} gf_stage;

/** One event. Flat: no pointers, nothing to free. */
typedef struct gf_event {
  uint32_t struct_size; /**< Set by the caller: GF_EVENT_INIT. */
  uint32_t type;        /**< gf_event_type. */
  gf_job_id job;
  uint64_t host_tag;      /**< As the request had it. */
  uint32_t stage;         /**< gf_stage. */
  uint32_t step;          /**< Of `total`, in the stage's unit. */
  uint32_t total;         /**< 0 when unknown. */
  uint32_t image;         /**< Which image of the job, from 0. */
  uint32_t status;        /**< gf_status; GF_OK unless rejected, failed or cancelled. */
  uint32_t reserved;      /**< 0. */
  int64_t retry_after_us; /**< With a rejection that a wait can help: how long; else 0. */
  int64_t at_us;          /**< Microseconds since the engine was opened. */
} gf_event;

#define GF_EVENT_INIT \
  { sizeof(gf_event), 0, {0, 0}, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/**
 * Receives the events of one engine, one call at a time, on a thread of the engine. May call anything but
 * gf_engine_close. `event` is valid during the call.
 */
typedef void (*gf_event_callback)(void* user_data, const gf_event* event);

/** No limit, where 0 stands for the default. */
#define GF_NO_LIMIT UINT64_MAX
/** Never, where 0 stands for the default. */
#define GF_NEVER INT64_MAX

/** Which lane a job waits in. */
typedef enum gf_priority { GF_PRIORITY_NORMAL = 0, GF_PRIORITY_HIGH = 1, GF_PRIORITY_LOW = 2 } gf_priority;

/** A rate: so many tokens a period, of which up to `burst` may be spent at once after a pause. */
typedef struct gf_rate {
  uint32_t tokens;   /**< 0: no limit. */
  uint32_t burst;    /**< At least 1 where tokens is not 0. */
  int64_t period_us; /**< At least `tokens`: a token takes a microsecond or more. */
} gf_rate;

/** How an engine works. Start from GF_ENGINE_OPTIONS_INIT and set what differs. */
typedef struct gf_engine_options {
  uint32_t struct_size;        /**< sizeof(gf_engine_options) in the caller's header; the macro sets it. */
  uint32_t executor_count;     /**< Jobs that run at the same time; 1 to 16. Default 1. */
  uint32_t thread_count;       /**< Threads that one executor computes on; at most 256. Default: the usable cores. */
  uint32_t queue_limit;        /**< Jobs that may wait; at most 1000000. Default 1024. */
  uint32_t retained_job_count; /**< Finished jobs whose results are kept; the oldest goes first. Default 256. */
  uint32_t log_level;          /**< gf_log_level. Default GF_LOG_OFF. */
  uint32_t allow_model_paths;  /**< 1: a request may name a model by its absolute path. Default 0. */
  uint32_t model_folder_count; /**< Entries of model_folders. */
  const char* const* model_folders; /**< Folders in which models are looked up by name, in this order. */
  const char* backend_path;         /**< The backend's shared object, absolute. NULL: beside this library. */
  gf_event_callback event_callback; /**< NULL: events are polled. Else they come here, and polling finds none. */
  void* event_user_data;            /**< Passed to event_callback. */
  gf_log_callback log_callback;     /**< NULL: log lines are polled. */
  void* log_user_data;              /**< Passed to log_callback. */
  uint32_t reserved_for_high;       /**< Places of queue_limit that only jobs of high priority may take. Default 0. */
  uint32_t user_running_limit;      /**< Jobs of one user that may run at the same time. Default any number. */
  int64_t
      normal_max_wait_us;  /**< After so long a job of normal priority goes before high ones. Default 20 s; GF_NEVER. */
  int64_t low_max_wait_us; /**< The same of low ones. Default 60 s; GF_NEVER. */
  gf_rate submit_rate;     /**< Jobs of all users. Who is over a rate is rejected with GF_ERR_RATE_LIMITED and the
                                time to wait. Default no limit. */
  gf_rate user_submit_rate;            /**< Of one user, by gf_request.user. Default no limit. */
  const char* const* user_class_names; /**< Classes of users with a rate of their own; see gf_request.user_class. */
  const gf_rate* user_class_rates;
  uint32_t user_class_count; /**< Entries of the two. */
  uint32_t keep_crash_note;  /**< 1: running jobs, memory and the last log lines are kept for gf_crash_note_write. */
} gf_engine_options;

/* Every field in the order above; positional, because C++ before C++20 has no other form. */
#define GF_ENGINE_OPTIONS_INIT \
  { sizeof(gf_engine_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0, 0, 0}, {0, 0, 0}, 0, 0, 0, 0 }

/**
 * Opens an engine and starts its threads. The backend is loaded with the first model, not here.
 *
 * options:    read during the call only, the texts too; NULL stands for GF_ENGINE_OPTIONS_INIT.
 * out_engine: receives the engine, or NULL when the call fails.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT names the option that is out of its range; GF_ERR_UNSUPPORTED when a newer header set
 * a field that this library does not have; GF_ERR_OUT_OF_HOST_MEMORY; GF_ERR_IO when a thread could not be started.
 * Ownership: the host owns *out_engine and closes it.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_engine_open(const gf_engine_options* options, gf_engine** out_engine);

/**
 * Closes an engine: refuses new work, cancels what waits and what runs, and waits for the end of its threads. What has
 * not ended in time ends behind the call. Images that were taken stay valid. NULL is allowed and does nothing.
 *
 * timeout_us: at most so long; 0 does not wait; negative is refused.
 *
 * Errors: GF_ERR_TIMED_OUT when threads are still ending (the handle is gone all the same); GF_ERR_INVALID_HANDLE, also
 * when it is closed twice; GF_ERR_WRONG_STATE from inside a callback of the engine, which then stays open;
 * GF_ERR_INVALID_ARGUMENT.
 * Ownership: the host's share ends; calls that are inside the engine finish first.
 * Threads: any, also while other calls on this engine run; not from its callbacks.
 * Blocks: until its timeout.
 */
GF_API gf_status gf_engine_close(gf_engine* engine, int64_t timeout_us);

/**
 * Takes the next event.
 *
 * out_event: struct_size set by the caller.
 *
 * Errors: GF_ERR_WOULD_BLOCK when there is none; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: nothing passes.
 * Threads: any; events are handed out once, so several threads share them.
 * Blocks: never.
 */
GF_API gf_status gf_engine_poll(gf_engine* engine, gf_event* out_event);

/**
 * Takes the next event, and waits for one if there is none.
 *
 * timeout_us: at most so long; 0 does not wait; negative is refused.
 *
 * Errors: GF_ERR_TIMED_OUT when none came; GF_ERR_INVALID_HANDLE, also when the engine is closed meanwhile;
 * GF_ERR_INVALID_ARGUMENT.
 * Ownership: nothing passes.
 * Threads: any; events are handed out once, so several threads share them.
 * Blocks: until its timeout.
 */
GF_API gf_status gf_engine_wait_event(gf_engine* engine, int64_t timeout_us, gf_event* out_event);

/**
 * Takes the next log line: module, a tab, message. A line is there as soon as the call that wrote it has returned;
 * lines of threads at work are in order by their times as far as they have come. No line makes its writer wait: each
 * thread has room for 128 KiB of lines that nobody has polled, then new ones are lost, which a line tells. Of lines
 * that differ in numbers alone 200 a second are shown; the rest is told in one. Passwords and tokens are masked, and
 * what would end or forge a line is escaped.
 *
 * out_record: struct_size set by the caller.
 * buffer:     receives the text; with NULL, *size receives the need of the next line, which stays.
 *
 * Errors: GF_ERR_WOULD_BLOCK when there is none; GF_ERR_BUFFER_TOO_SMALL, and the line stays; GF_ERR_INVALID_HANDLE;
 * GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any; lines are handed out once.
 * Blocks: never.
 */
GF_API gf_status gf_engine_poll_log(gf_engine* engine, gf_log_record* out_record, char* buffer, uint64_t* size);

/**
 * Gives the state of an engine as one JSON object: jobs by state, models, memory, backend, threads.
 *
 * Errors: GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_engine_statistics_json(gf_engine* engine, char* buffer, uint64_t* size);

/* ---- Memory ----------------------------------------------------------------------------------------------------- *
 *
 * A host hands over its budget, and takes memory back, at any time. All engines of a process share each device through
 * one ledger, so that a budget is the device's: the last one that was set counts, whichever engine it was set by, also
 * after that engine is closed. Device 0 is the CPU, the only one so far.
 *
 * What is counted are weights, activations and staging, as the backend takes them. Nothing is granted past the limit,
 * which is the least of the budget and of what is free on the machine with what we hold, less a headroom (a twentieth
 * of the machine's memory, at most 256 MiB). Models that nobody uses are given up for those that are wanted, by what
 * they cost to load again.
 *
 *     gf_engine_set_memory_budget(engine, 0, 96u << 20);
 *     uint64_t given = 0;
 *     gf_engine_request_memory(engine, 0, 32u << 20, 15000, &given);
 */

/** How full a device is, with hysteresis. */
typedef enum gf_memory_pressure {
  GF_MEMORY_PRESSURE_NONE = 0,
  GF_MEMORY_PRESSURE_MODERATE = 1, /**< From 80 % of what may be used on. */
  GF_MEMORY_PRESSURE_HIGH = 2,     /**< From 90 %: idle models go. */
  GF_MEMORY_PRESSURE_CRITICAL = 3  /**< From 97 %. */
} gf_memory_pressure;

/** A device's memory, bytes. */
typedef struct gf_memory_report {
  uint32_t struct_size; /**< Set by the caller: GF_MEMORY_REPORT_INIT. */
  uint32_t device;
  uint32_t pressure; /**< gf_memory_pressure, of the newest look while a job ran. */
  uint32_t reserved; /**< 0. */
  uint64_t total_bytes;
  uint64_t free_bytes;     /**< For anybody. */
  uint64_t live_bytes;     /**< Held and promised, by all engines of the process, */
  uint64_t held_bytes;     /**< and of these what is held. */
  uint64_t peak_bytes;     /**< The largest live_bytes so far. */
  uint64_t cached_bytes;   /**< Kept free by the backend's allocator. */
  uint64_t overhead_bytes; /**< What the process holds besides, where the device tells it. */
  uint64_t other_bytes;    /**< In use by anybody else; with the overhead where the device does not tell it. */
  uint64_t limit_bytes;    /**< Of live_bytes; GF_NO_LIMIT. */
  uint64_t over_bytes;     /**< By how much the limit is passed, which only a limit that fell can bring about. */
  double fragmentation;    /**< Of cached_bytes: 1 less the share of the largest free block. */
  double used_share;       /**< Of what may be used: what the pressure is made of. */
} gf_memory_report;

#define GF_MEMORY_REPORT_INIT \
  { sizeof(gf_memory_report), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** What happened to a device's live bytes while a scope lasted. */
typedef struct gf_memory_scope_report {
  uint32_t struct_size; /**< Set by the caller: GF_MEMORY_SCOPE_REPORT_INIT. */
  uint32_t reserved;    /**< 0. */
  uint64_t begun_bytes;
  uint64_t ended_bytes;
  uint64_t peak_bytes;
} gf_memory_scope_report;

#define GF_MEMORY_SCOPE_REPORT_INIT \
  { sizeof(gf_memory_scope_report), 0, 0, 0, 0 }

/**
 * Sets what the engines of this process may hold of a device. A budget below what is held grants nothing new, and has
 * idle models given back at once. A job that samples gives back its model between two steps where that is not enough,
 * and goes on with the same pixels when there is room again: the report's memory.pauses and paused_us tell. What it
 * works on stays, latents and encoded prompts; other stages end first.
 *
 * bytes: 0 takes the budget away.
 *
 * Errors: GF_ERR_NOT_FOUND for a device that is not there; GF_ERR_INVALID_HANDLE.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never; it may be called every frame.
 */
GF_API gf_status gf_engine_set_memory_budget(gf_engine* engine, uint32_t device, uint64_t bytes);

/**
 * Has models that nobody uses given back, of every engine of the process, until so many bytes are free again.
 *
 * out_given_bytes: may be NULL; what was given back, less than `bytes` where no more was idle.
 *
 * Errors: GF_ERR_TIMED_OUT, and what comes later is given back all the same; GF_ERR_NOT_FOUND; GF_ERR_INVALID_ARGUMENT;
 * GF_ERR_INVALID_HANDLE.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: at most timeout_us.
 */
GF_API gf_status gf_engine_request_memory(gf_engine* engine, uint32_t device, uint64_t bytes, int64_t timeout_us,
                                          uint64_t* out_given_bytes);

/**
 * Asks for GF_EVENT_MEMORY_PRESSURE, or ends them: an engine is opened without.
 *
 * wanted: 0 or 1.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT; GF_ERR_INVALID_HANDLE.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_engine_set_pressure_events(gf_engine* engine, uint32_t wanted);

/**
 * Looks at a device's memory now.
 *
 * out_report: struct_size set by the caller.
 *
 * Errors: GF_ERR_NOT_FOUND; GF_ERR_IO, GF_ERR_DEVICE_LOST where the device does not tell; GF_ERR_INVALID_ARGUMENT;
 * GF_ERR_INVALID_HANDLE.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: for a few reads of the system's counters.
 */
GF_API gf_status gf_engine_memory_report(gf_engine* engine, uint32_t device, gf_memory_report* out_report);

/**
 * Gives what is known of memory as one JSON object: devices (with the parts of each model and stage), cache, monitor,
 * recovery ladder.
 *
 * Errors: GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: for a few reads of the system's counters.
 */
GF_API gf_status gf_engine_memory_json(gf_engine* engine, char* buffer, uint64_t* size);

/**
 * Follows a device's live bytes from now on, whichever job takes them.
 *
 * growth_limit_bytes: what live_bytes may grow by while the scope lasts; 0: any.
 * out_scope:          its number, above 0, for gf_memory_scope_end.
 *
 * Errors: GF_ERR_QUEUE_FULL when 16 are open on the device; GF_ERR_NOT_FOUND; GF_ERR_INVALID_ARGUMENT;
 * GF_ERR_INVALID_HANDLE.
 * Ownership: the scope is the caller's, to gf_memory_scope_end.
 * Threads: any; it may be ended on another one.
 * Blocks: never.
 */
GF_API gf_status gf_memory_scope_begin(gf_engine* engine, uint32_t device, uint64_t growth_limit_bytes,
                                       uint64_t* out_scope);

/**
 * Ends a scope, and its limit, and says what happened while it lasted.
 *
 * out_report: may be NULL; struct_size set by the caller.
 *
 * Errors: GF_ERR_WRONG_STATE for one that was ended, or never begun; GF_ERR_INVALID_ARGUMENT; GF_ERR_INVALID_HANDLE.
 * Ownership: the scope is gone.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_memory_scope_end(gf_engine* engine, uint64_t scope, gf_memory_scope_report* out_report);

/* ---- Configuration ---------------------------------------------------------------------------------------------- *
 *
 * For hosts that want a file; the library itself reads none. A file is TOML with the fields of gf_engine_options
 * (model_folders, executor_count, thread_count, queue_limit, retained_job_count, log_level, allow_model_paths,
 * backend_path); the environment has the same in capitals after GAMEFORGE_, and wins. log_level is "off", "error",
 * "warning", "info" or "debug". Relative paths in a file are relative to its folder; GAMEFORGE_MODEL_FOLDERS has its
 * folders with colons between them.
 */

/** A configuration that was read. From gf_config_load, to gf_config_release. */
typedef struct gf_config gf_config;

/**
 * Reads a configuration.
 *
 * path:            of the TOML file; NULL: no file.
 * use_environment: 1: variables GAMEFORGE_* override the file; 0: the environment is not looked at.
 * out_config:      receives the configuration, or NULL when the call fails.
 *
 * Errors: GF_ERR_NOT_FOUND; GF_ERR_SYNTAX_ERROR with line and column; GF_ERR_INVALID_ARGUMENT names every key that is
 * unknown or has a value of the wrong kind; GF_ERR_IO.
 * Ownership: the host owns *out_config.
 * Threads: any; not while another thread changes the environment.
 * Blocks: for the reading of one small file.
 */
GF_API gf_status gf_config_load(const char* path, uint32_t use_environment, gf_config** out_config);

/**
 * Fills what the configuration sets into options; the rest of options stays as it is.
 *
 * options: made by GF_ENGINE_OPTIONS_INIT. Texts in it then belong to the configuration.
 *
 * Errors: GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the texts live as long as the configuration.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_config_read(gf_config* config, gf_engine_options* options);

/**
 * Gives the configuration as one JSON object: each key with its value and its origin ("file", "environment").
 *
 * Errors: GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_config_json(gf_config* config, char* buffer, uint64_t* size);

/**
 * Releases a configuration. NULL is allowed and does nothing.
 *
 * Errors: GF_ERR_INVALID_HANDLE, also when it is released twice.
 * Ownership: the host's share ends, and with it the texts that gf_config_read gave.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_config_release(gf_config* config);

/* ---- Models ----------------------------------------------------------------------------------------------------- *
 *
 * A model is a diffusers folder, or a checkpoint in one .safetensors file (Stable Diffusion 1, 2, XL), which is told
 * apart by the names and shapes of its tensors; NAME.gameforge.json beside it may say what these do not tell. It is
 * named by its folder's or file's name in one of the engine's model folders, or by an absolute path where the options
 * allow it. It is loaded when a job needs it and stays.
 */

/**
 * Loads a model ahead of its first request. The job ends in the same events as a request's, without images.
 *
 * model:    a name, or an absolute path.
 * host_tag: comes back in the events.
 * out_job:  receives the job's id.
 *
 * Errors: those of gf_engine_submit.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_model_load_ahead(gf_engine* engine, const char* model, uint64_t host_tag, gf_job_id* out_job);

/**
 * Tells what a model is, without loading it: one JSON object with name, path, family, prediction, sizes, defaults of a
 * request, background, parts with their files and bytes, and whether it is loaded.
 *
 * Errors: GF_ERR_NOT_FOUND; 4xx when its files are not what they should be; GF_ERR_INVALID_ARGUMENT;
 * GF_ERR_INVALID_HANDLE; GF_ERR_BUFFER_TOO_SMALL.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: for the reading of a few small files.
 */
GF_API gf_status gf_model_info_json(gf_engine* engine, const char* model, char* buffer, uint64_t* size);

/**
 * Lists the models in the engine's folders as a JSON array of {"name", "path", "loaded", "pinned"}.
 *
 * Errors: GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: for the reading of the folders.
 */
GF_API gf_status gf_model_list_json(gf_engine* engine, char* buffer, uint64_t* size);

/**
 * Keeps a model in memory once it is loaded, or lets it go again.
 *
 * pinned: 1 or 0.
 *
 * Errors: GF_ERR_NOT_FOUND; GF_ERR_INVALID_ARGUMENT; GF_ERR_INVALID_HANDLE.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_model_pin(gf_engine* engine, const char* model, uint32_t pinned);

/**
 * Gives the memory of a model back; jobs that use it finish first, and the next one loads it again. A pin is undone.
 *
 * Errors: GF_ERR_NOT_FOUND when it is not loaded; GF_ERR_INVALID_ARGUMENT; GF_ERR_INVALID_HANDLE.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_model_release(gf_engine* engine, const char* model);

/* ---- Requests and jobs ------------------------------------------------------------------------------------------ */

/** Flags of a request. */
typedef enum gf_request_flag {
  GF_REQUEST_RANDOM_SEED = 1,  /**< The seed is drawn; gf_job_info tells it. */
  GF_REQUEST_KEEP_LATENTS = 2, /**< Last latents are kept, for gf_job_latents. */
  GF_REQUEST_LENIENT_LORA = 4, /**< Keys of a LoRA that fit nothing are warned about in the job's report; else the job
                                    fails with their names. */
  GF_REQUEST_MEMORY_MAY_CHANGE_PIXELS = 8 /**< Where memory is short the picture may be made in a way that gives other
                                               pixels: decoded in tiles. The report's memory_rungs tell. Else such a
                                               job fails. */
} gf_request_flag;

/** An image. From gf_job_image and the functions below, to gf_image_release. */
typedef struct gf_image gf_image;

/** How prompts are read. */
typedef enum gf_prompt_syntax {
  /**
   * As in AUTOMATIC1111's webui: (a) weighs 1.1, ((a)) 1.21, [a] 1/1.1, (a:1.3) 1.3, -100 to 100 in all; BREAK begins a
   * new chunk; a backslash before one of ()[] and the backslash takes it as it is. Brackets inside of more than 256
   * others are refused.
   */
  GF_PROMPT_WEIGHTED = 0,
  GF_PROMPT_PLAIN = 1 /**< Every character is text; for prompts that users' own words are put into. */
} gf_prompt_syntax;

/** What becomes of a prompt that is longer than the model's text encoder reads at once, 75 tokens. */
typedef enum gf_long_prompt {
  GF_LONG_PROMPT_CHUNKS = 0, /**< Chunks of 75, broken behind a comma where one of the last 20 is one, as in webui. At
                                  most 16; the report says how many there were. */
  GF_LONG_PROMPT_CUT = 1,    /**< What is too much is left out, with a warning in the report, as in diffusers. */
  GF_LONG_PROMPT_REFUSE = 2  /**< The job fails with GF_ERR_PAYLOAD_TOO_LARGE, and the number of tokens. */
} gf_long_prompt;

/** Where noise comes from. */
typedef enum gf_noise {
  GF_NOISE_TORCH_CPU = 0, /**< PyTorch's CPU generator: diffusers' pictures. */
  GF_NOISE_PHILOX = 1     /**< What PyTorch draws on a CUDA device, computed here: what most published seeds assume. */
} gf_noise;

/** What to generate. Start from GF_REQUEST_INIT; 0 and NULL mean the default, which the model's gameforge.json may set.
 */
typedef struct gf_request {
  uint32_t struct_size;          /**< sizeof(gf_request) in the caller's header; the macro sets it. */
  uint32_t flags;                /**< gf_request_flag, or'ed. */
  uint32_t width_px;             /**< 8 to 8192, a multiple of what the model needs. Default: the model's. */
  uint32_t height_px;            /**< As width_px. */
  uint32_t steps;                /**< 1 to 1000. Default: the model's, else 20. */
  uint32_t image_count;          /**< 1 to 256. Default 1. Image i has the seed `seed` + i. */
  double cfg_scale;              /**< 1 to 100; 1 is no guidance. Default: the model's, else 7. */
  double guidance_rescale;       /**< 0 to 1. Default 0, off. Lin et al. 2023, section 3.4. */
  uint64_t seed;                 /**< Of PyTorch's CPU generator. */
  uint64_t host_tag;             /**< Comes back in the events. */
  const char* model;             /**< A name, or an absolute path where the options allow it. Needed. */
  const char* prompt;            /**< At most 65536 bytes. Default "". */
  const char* prompt_2;          /**< For the second text encoder. Default: as prompt. */
  const char* negative_prompt;   /**< Default: none, which for some models is not the same as "". */
  const char* negative_prompt_2; /**< Default: as negative_prompt. */
  const char* sampler;           /**< "euler", "Euler a", "EulerDiscreteScheduler", ... Default: the model's. */
  const char* schedule;          /**< "normal", "karras", "exponential", "sgm_uniform". Default: the
                                      model's. */
  const float*
      initial_latents; /**< Standard normal, float32 [image_count, channels, height/f, width/f], f the VAE's factor. */
  uint64_t initial_latent_count; /**< Values in initial_latents. */
  uint32_t original_width_px;    /**< SDXL's size conditioning. Default: width_px; the next three likewise. */
  uint32_t original_height_px;
  uint32_t target_width_px;
  uint32_t target_height_px;
  uint32_t crop_left_px; /**< SDXL's crop conditioning. */
  uint32_t crop_top_px;
  const char* const* lora_names; /**< lora_count names: NAME.safetensors in the model's folder "loras" or in the folder
                                      "loras" of a model folder; an absolute path where the options allow paths. Tags
                                      <lora:NAME:SCALE> in the prompt are taken out of it and count as well. */
  const double* lora_scales;     /**< lora_count numbers, -10 to 10. NULL: all 1. The files' order means nothing. */
  uint32_t lora_count;           /**< At most 32, the prompt's included. */
  uint32_t clip_skip;   /**< Last layers of the text encoders that the prompt is taken before, as in diffusers: webui's
                             "Clip skip" less 1. */
  double eta;           /**< 0 to 1: DDIM's noise. Default 0. */
  double strength;      /**< With init_image: the share of the steps that is done, above 0 to 1. Default 0.75. */
  gf_image* init_image; /**< Begin from this picture, of width_px x height_px (which are its own by default); its
                             alpha is not looked at. The request takes a share. */
  gf_image* mask;       /**< With init_image, of its size: painted anew where red is 128 or more; kept elsewhere. */
  uint32_t noise;       /**< gf_noise. */
  uint32_t priority;    /**< gf_priority. */
  const char* user;     /**< Whose job it is: users of one priority take turns. Default "". */
  const char* user_class;      /**< By which rate the user submits. Default none. */
  const char* idempotency_key; /**< While the engine knows a job that was submitted with it, the answer is that job's id
                                    and nothing is taken in; the requests are not compared. Default none. */
  uint32_t prompt_syntax;      /**< gf_prompt_syntax, of all four prompts. */
  uint32_t long_prompt;        /**< gf_long_prompt, likewise. */
  uint32_t tile;     /**< gf_tile bits. Sides that are tiled are multiples of what the model halves them to. */
  uint32_t reserved; /**< 0. */
} gf_request;

#define GF_REQUEST_INIT                                                                                              \
  {                                                                                                                  \
    sizeof(gf_request), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0                                                                                 \
  }

/** Along which axes a picture is made to be tiled: it goes on with its opposite side, in every layer of the model. The
 *  report's images[].seam tells how well it joins, as gf_image_seam_score does: at most 1.1 is good. */
typedef enum gf_tile {
  GF_TILE_X = 1, /**< Side by side. */
  GF_TILE_Y = 2  /**< One below the other. */
} gf_tile;

/** How to cancel. */
typedef enum gf_cancel_mode {
  GF_CANCEL_NOW = 0,        /**< Stop before the next step; nothing is decoded. */
  GF_CANCEL_AFTER_IMAGE = 1 /**< Finish the image that is being made, skip the rest. */
} gf_cancel_mode;

/** States of a job. */
typedef enum gf_job_state {
  GF_JOB_SUBMITTED = 0, /**< Taken in, not yet judged. */
  GF_JOB_QUEUED = 1,
  GF_JOB_RUNNING = 2,
  GF_JOB_DONE = 3,
  GF_JOB_FAILED = 4,
  GF_JOB_CANCELLED = 5,
  GF_JOB_REJECTED = 6
} gf_job_state;

/** A job as it stands. Times are 0 until their stage has ended. */
typedef struct gf_job_info {
  uint32_t struct_size; /**< Set by the caller: GF_JOB_INFO_INIT. */
  uint32_t state;       /**< gf_job_state; from GF_JOB_DONE on it is over. */
  uint32_t status;      /**< gf_status of how it ended; GF_OK before. */
  uint32_t stage;       /**< gf_stage. */
  uint32_t step;        /**< Of total, in the stage's unit. */
  uint32_t total;
  uint32_t images_ready; /**< Images that gf_job_image gives now. */
  uint32_t image_count;  /**< Images that were asked for. */
  uint32_t width_px;     /**< As decided, after defaults. */
  uint32_t height_px;
  uint64_t seed; /**< Of the first image. */
  uint64_t host_tag;
  int64_t queue_us; /**< Waiting for an executor. */
  int64_t load_us;  /**< Loading the model; 0 when it was there. */
  int64_t encode_us;
  int64_t sample_us; /**< All steps of all images. */
  int64_t decode_us;
  int64_t total_us; /**< From submit to the end. */
} gf_job_info;

#define GF_JOB_INFO_INIT \
  { sizeof(gf_job_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/**
 * Submits a request. It is checked and copied, so that everything the caller passed may go at once; what only the
 * model's files can tell is judged afterwards and comes as GF_EVENT_REJECTED or GF_EVENT_FAILED.
 *
 * out_job: receives the job's id.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT names the field and its range; GF_ERR_UNSUPPORTED (unknown sampler or schedule, a
 * field of a newer header); GF_ERR_PAYLOAD_TOO_LARGE; GF_ERR_QUEUE_FULL; GF_ERR_SHUTTING_DOWN; GF_ERR_INVALID_HANDLE;
 * GF_ERR_OUT_OF_HOST_MEMORY. Nothing was taken then.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_engine_submit(gf_engine* engine, const gf_request* request, gf_job_id* out_job);

/**
 * Tells how a job stands.
 *
 * out_info: struct_size set by the caller.
 *
 * Errors: GF_ERR_NOT_FOUND when the job is unknown or no longer kept; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_job_status(gf_engine* engine, const gf_job_id* job, gf_job_info* out_info);

/**
 * Waits until a job is over, however it ends: out_info->status tells. Events are not consumed.
 *
 * timeout_us: at most so long; 0 does not wait; negative is refused.
 * out_info:   may be NULL; else struct_size set by the caller, and filled when the job is over or the time is.
 *
 * Errors: GF_ERR_TIMED_OUT; GF_ERR_NOT_FOUND; GF_ERR_INVALID_HANDLE, also when the engine is closed meanwhile;
 * GF_ERR_INVALID_ARGUMENT.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: until its timeout.
 */
GF_API gf_status gf_job_wait(gf_engine* engine, const gf_job_id* job, int64_t timeout_us, gf_job_info* out_info);

/**
 * Asks for a job to be cancelled. The wish is the job's own and stays: it holds whether the job waits, runs or has just
 * been submitted, and is seen in every stage. It ends in GF_EVENT_CANCELLED unless it was already over.
 *
 * mode: gf_cancel_mode. A later "now" overrides an earlier "after image"; not the other way round.
 *
 * Errors: GF_ERR_NOT_FOUND; GF_ERR_UNSUPPORTED (unknown mode); GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT. For a
 * job that is over it is GF_OK and changes nothing.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_job_cancel(gf_engine* engine, const gf_job_id* job, uint32_t mode);

/**
 * Tells why a job failed, or was rejected: the object that gf_last_error_json gives for calls. {} when it did not fail.
 *
 * Errors: GF_ERR_NOT_FOUND; GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_job_error_json(gf_engine* engine, const gf_job_id* job, char* buffer, uint64_t* size);

/**
 * Gives what a job did as one JSON object: the request with every default filled in, model and library versions, times
 * by stage, peak memory, warnings.
 *
 * Errors: GF_ERR_NOT_FOUND; GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_job_report_json(gf_engine* engine, const gf_job_id* job, char* buffer, uint64_t* size);

/**
 * Gives the last latents of one image: float32 [channels, height/f, width/f], still times the VAE's scaling factor. The
 * request must have had GF_REQUEST_KEEP_LATENTS.
 *
 * buffer: NULL only asks for the count.
 * count:  in: values that fit into buffer; out: values there are.
 *
 * Errors: GF_ERR_NOT_FOUND when there is no such image or its latents were not kept; GF_ERR_BUFFER_TOO_SMALL;
 * GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_job_latents(gf_engine* engine, const gf_job_id* job, uint32_t index, float* buffer,
                                uint64_t* count);

/**
 * Forgets a job that is over, with its results; images that were taken stay valid.
 *
 * Errors: GF_ERR_WRONG_STATE when it is not over; GF_ERR_NOT_FOUND; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_job_forget(gf_engine* engine, const gf_job_id* job);

/**
 * Writes a job's id as 32 hex digits and a NUL.
 *
 * buffer: 33 bytes at least.
 *
 * Errors: GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_job_id_text(const gf_job_id* job, char* buffer, uint64_t* size);

/**
 * Reads a job's id from 32 hex digits, with or without dashes.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_job_id_parse(const char* text, gf_job_id* out_job);

/* ---- Images ----------------------------------------------------------------------------------------------------- *
 *
 * RGBA8, sRGB, straight alpha, top row first, stride = 4 * width bytes. Immutable, counted, and independent of any
 * engine.
 */

/** What an image is. */
typedef struct gf_image_info {
  uint32_t struct_size; /**< Set by the caller: GF_IMAGE_INFO_INIT. */
  uint32_t width_px;
  uint32_t height_px;
  uint32_t stride_bytes; /**< 4 * width_px. */
  uint64_t byte_count;   /**< stride_bytes * height_px. */
  uint64_t seed;         /**< That it was made from; 0 for an image that no job made. */
} gf_image_info;

#define GF_IMAGE_INFO_INIT \
  { sizeof(gf_image_info), 0, 0, 0, 0, 0 }

/**
 * Takes an image of a job. It can be taken any number of times, also before the job is over.
 *
 * index:     from 0, below gf_job_info's images_ready.
 * out_image: receives the image, or NULL when the call fails.
 *
 * Errors: GF_ERR_WOULD_BLOCK when it is not ready yet; GF_ERR_NOT_FOUND when the job is unknown, has ended without it
 * or has no such image; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the host owns a share and releases it; it outlives the engine.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_job_image(gf_engine* engine, const gf_job_id* job, uint32_t index, gf_image** out_image);

/**
 * Makes an image from the host's pixels, which are copied.
 *
 * width_px, height_px: 1 to 16384.
 * stride_bytes:        from row to row, at least 4 * width_px.
 * pixels:              RGBA8, top row first.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT; GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: the host owns *out_image.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_image_create(uint32_t width_px, uint32_t height_px, uint32_t stride_bytes, const uint8_t* pixels,
                                 gf_image** out_image);

/**
 * Tells an image's size.
 *
 * Errors: GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_image_describe(gf_image* image, gf_image_info* out_info);

/**
 * Gives an image's pixels, in place.
 *
 * out_pixels: receives the first byte of the top row.
 *
 * Errors: GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the pixels are the image's, not to be written, valid until the last share of the image is released.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_image_pixels(gf_image* image, const uint8_t** out_pixels);

/**
 * Takes another share of an image, under a handle of its own.
 *
 * Errors: GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT; GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: the host owns *out_image and releases it too.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_image_share(gf_image* image, gf_image** out_image);

/**
 * Releases a share of an image. NULL is allowed and does nothing.
 *
 * Errors: GF_ERR_INVALID_HANDLE, also when it is released twice.
 * Ownership: the host's share ends.
 * Threads: any, also while other calls on the image run.
 * Blocks: never.
 */
GF_API gf_status gf_image_release(gf_image* image);

/**
 * Enlarges an image by a whole factor, each pixel a square: for pixel art.
 *
 * factor: 1 to 64; the result has at most 16384 pixels a side.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT; GF_ERR_INVALID_HANDLE; GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: the host owns *out_image.
 * Threads: any.
 * Blocks: never; computes for a time that grows with the pixels.
 */
GF_API gf_status gf_image_upscale(gf_image* image, uint32_t factor, gf_image** out_image);

/** How a flat background is found. */
typedef struct gf_key_options {
  uint32_t struct_size; /**< The macro sets it. */
  uint32_t use_border;  /**< 1: the colour is the commonest of the border, and red, green and blue are not read. */
  uint32_t red;         /**< 0 to 255; the background's colour. */
  uint32_t green;       /**< 0 to 255. */
  uint32_t blue;        /**< 0 to 255. */
  uint32_t tolerance;   /**< 0 to 255: how far each channel of a background pixel may be off. Default 0, exact. */
} gf_key_options;

#define GF_KEY_OPTIONS_INIT \
  { sizeof(gf_key_options), 0, 0, 0, 0, 0 }

/**
 * Makes the flat background transparent: a flood fill from the border over pixels of the background's colour
 * (4-connected), whose alpha becomes 0 and whose colour becomes that of the nearest edge, so that filtering shows no
 * rim.
 *
 * options: NULL stands for use_border = 1 and tolerance = 16.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT; GF_ERR_INVALID_HANDLE; GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: the host owns *out_image.
 * Threads: any.
 * Blocks: never; computes for a time that grows with the pixels.
 */
GF_API gf_status gf_image_key_background(gf_image* image, const gf_key_options* options, gf_image** out_image);

/**
 * Lays images out in a grid: for contact sheets and atlases of equal cells. A cell is as large as the largest image;
 * smaller ones lie at its top left.
 *
 * images:     `count` images, row by row; 1 to 4096.
 * columns:    1 to count.
 * gap_px:     between cells and around all of them; at most 1024.
 * background: 0xRRGGBBAA.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT, also when the result would pass 16384 pixels a side; GF_ERR_INVALID_HANDLE;
 * GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: the host owns *out_image.
 * Threads: any.
 * Blocks: never; computes for a time that grows with the pixels.
 */
GF_API gf_status gf_image_grid(gf_image* const* images, uint32_t count, uint32_t columns, uint32_t gap_px,
                               uint32_t background, gf_image** out_image);

/** What goes into a PNG beside the pixels. */
typedef struct gf_png_options {
  uint32_t struct_size;   /**< The macro sets it. */
  uint32_t compression;   /**< 1 (fast) to 9 (small). Default 6. */
  const char* parameters; /**< Text chunk "parameters", as stable-diffusion-webui writes it. NULL: none. */
  uint32_t indexed;       /**< 1: a palette, for images of at most 256 colours with their alphas. Default 0. */
  uint32_t reserved;      /**< 0. */
} gf_png_options;

#define GF_PNG_OPTIONS_INIT \
  { sizeof(gf_png_options), 0, 0, 0, 0 }

/**
 * Gives the text that belongs into gf_png_options.parameters: the recipe of an image in the form of
 * stable-diffusion-webui.
 *
 * index: which image of the job, from 0.
 *
 * Errors: GF_ERR_NOT_FOUND; GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_job_parameters_text(gf_engine* engine, const gf_job_id* job, uint32_t index, char* buffer,
                                        uint64_t* size);

/**
 * Encodes an image as PNG: RGB when every pixel is opaque, else RGBA. Equal pixels and options give equal bytes.
 *
 * options: NULL stands for GF_PNG_OPTIONS_INIT.
 * buffer:  NULL only asks for the size.
 * size:    in: bytes of buffer; out: bytes of the PNG.
 *
 * Errors: GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_ARGUMENT; GF_ERR_INVALID_HANDLE; GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never; computes for a time that grows with the pixels.
 */
GF_API gf_status gf_image_encode_png(gf_image* image, const gf_png_options* options, uint8_t* buffer, uint64_t* size);

/**
 * Writes an image as a PNG file, whole or not at all.
 *
 * options: NULL stands for GF_PNG_OPTIONS_INIT.
 *
 * Errors: GF_ERR_NOT_FOUND (no such folder); GF_ERR_UNAUTHORISED; GF_ERR_DISK_FULL; GF_ERR_IO; those of
 * gf_image_encode_png. The old file is then as it was.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: for the writing of the file.
 */
GF_API gf_status gf_image_write_png(gf_image* image, const gf_png_options* options, const char* path);

/**
 * Decodes a PNG to RGBA8: palettes, grey, 16 bits and transparency keys are converted; colour profiles and gamma are
 * not looked at.
 *
 * bytes: `size` bytes, the whole file.
 *
 * Errors: GF_ERR_CORRUPT_FILE; GF_ERR_INVALID_ARGUMENT (also for a side of more than 16384 pixels).
 * Ownership: *out_image is the caller's.
 * Threads: any.
 * Blocks: for the decoding.
 */
GF_API gf_status gf_image_decode_png(const uint8_t* bytes, uint64_t size, gf_image** out_image);

/**
 * Reads a PNG file of at most 1 GiB, as gf_image_decode_png does.
 *
 * Errors: GF_ERR_NOT_FOUND; GF_ERR_UNAUTHORISED; GF_ERR_IO; GF_ERR_PAYLOAD_TOO_LARGE; those of gf_image_decode_png.
 * Ownership: *out_image is the caller's.
 * Threads: any.
 * Blocks: for the reading and decoding of the file.
 */
GF_API gf_status gf_image_read_png(const char* path, gf_image** out_image);

/**
 * Gives the text "parameters" of a PNG file of at most 1 GiB: the recipe that gf_png_options.parameters put there, or
 * stable-diffusion-webui did.
 *
 * Errors: GF_ERR_NOT_FOUND, also when the file has no such text; GF_ERR_BUFFER_TOO_SMALL; GF_ERR_CORRUPT_FILE, also for
 * text that is not UTF-8 where it should be; GF_ERR_UNAUTHORISED; GF_ERR_IO; GF_ERR_PAYLOAD_TOO_LARGE;
 * GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: for the reading and decoding of the file.
 */
GF_API gf_status gf_png_read_parameters(const char* path, char* buffer, uint64_t* size);

/* ---- Assets ----------------------------------------------------------------------------------------------------- *
 *
 * What becomes of an image on its way into a game. Each function is plain: equal pixels and options give equal pixels,
 * on every machine, run and thread. What each computes: docs/assets.md.
 *
 *     gf_image* sprite = NULL;
 *     gf_image* art = NULL;
 *     gf_pixelate_options options = GF_PIXELATE_OPTIONS_INIT;
 *     options.width_px = 32;
 *     options.height_px = 32;
 *     options.colour_count = 16;
 *     if (gf_image_cut_sprite(image, NULL, &sprite, NULL) == GF_OK &&
 *         gf_image_pixelate(sprite, &options, &art) == GF_OK) {
 *       gf_image_write_png(art, NULL, "potion.png");
 *     }
 *     gf_image_release(art);
 *     gf_image_release(sprite);
 */

/**
 * How well a texture joins itself where it repeats: to the right (x) and downwards (y). Differences are means over
 * pairs of neighbours and over red, green and blue, in levels of 0 to 255; colours count as far as they are opaque, and
 * alpha as a fourth channel.
 */
typedef struct gf_seam_score {
  uint32_t struct_size; /**< Set by the caller: GF_SEAM_SCORE_INIT. */
  uint32_t reserved;    /**< 0. */
  double x; /**< edge_x over inner_x, neither below half a level: 1 is a seam like the inside; at most 1.1 is good. */
  double y;
  double edge_x;       /**< Between the last column and the first. */
  double edge_y;       /**< Between the last row and the first. */
  double inner_x;      /**< Between neighbouring columns inside. */
  double inner_y;      /**< Between neighbouring rows inside. */
  double inner_most_x; /**< Between the two neighbouring columns inside that differ most. */
  double inner_most_y; /**< Likewise of rows. */
} gf_seam_score;

#define GF_SEAM_SCORE_INIT \
  { sizeof(gf_seam_score), 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/**
 * Measures the seams of an image that is to be tiled.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT; GF_ERR_INVALID_HANDLE.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never; computes for a time that grows with the pixels.
 */
GF_API gf_status gf_image_seam_score(gf_image* image, gf_seam_score* out_score);

/** How a sprite is cut out of its background. Start from GF_SPRITE_OPTIONS_INIT and set what differs. */
typedef struct gf_sprite_options {
  uint32_t struct_size;  /**< The macro sets it. */
  uint32_t use_key;      /**< 1: `key` is the background's colour. Default 0: the border's dominant one. */
  uint32_t key;          /**< 0xRRGGBB. */
  uint32_t tolerance;    /**< How far background may be off the key, in 1/1000 of OKLab; 1 to 1000. Default 50. */
  uint32_t border_share; /**< Of the border that must have a colour for it to be dominant, in 1/1000. Default 500. */
  uint32_t edge_px;      /**< How wide soft edges are, 1 to 8. Default 2. */
  uint32_t hard_edge;    /**< 1: alpha is 0 or stays, and edge_px is not read. Default 0. */
  uint32_t keep_spill;   /**< 1: the background's part in the edge's colours is left there. Default 0. */
  uint32_t enclosed_px;  /**< Background that the subject encloses is cut out from this area on. Default 0, never. */
} gf_sprite_options;

#define GF_SPRITE_OPTIONS_INIT \
  { sizeof(gf_sprite_options), 0, 0, 0, 0, 0, 0, 0, 0 }

/** What gf_image_cut_sprite gives for the key where the border was transparent already. */
#define GF_NO_KEY 0xFFFFFFFFu

/**
 * Cuts a sprite out of a flat background: a flood fill from the border (4-connected) over pixels whose distance from
 * the key in OKLab is within the tolerance. Pixels at the edge get the alpha with which they are mixed of background
 * and subject, and the subject's colour alone; transparent pixels get the colour of the nearest edge, against rims by
 * filtering.
 *
 * options: NULL stands for GF_SPRITE_OPTIONS_INIT.
 * out_key: receives the key, 0xRRGGBB, or GF_NO_KEY. May be NULL.
 *
 * Errors: GF_ERR_NOT_FOUND when the border has no dominant colour and no key is given; the message has the figures.
 * GF_ERR_INVALID_ARGUMENT; GF_ERR_INVALID_HANDLE; GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: the host owns *out_image.
 * Threads: any.
 * Blocks: never; computes for a time that grows with the pixels.
 */
GF_API gf_status gf_image_cut_sprite(gf_image* image, const gf_sprite_options* options, gf_image** out_image,
                                     uint32_t* out_key);

/** Which colour a cell of pixel art gets. */
typedef enum gf_cell_colour {
  GF_CELL_MAJORITY = 0, /**< The mean of its commonest colours. */
  GF_CELL_CENTRE = 1    /**< That of the pixel in its middle. */
} gf_cell_colour;

/** How colours that a palette lacks are mixed from those that it has. */
typedef enum gf_dither {
  GF_DITHER_NONE = 0,           /**< The nearest colour. */
  GF_DITHER_BAYER = 1,          /**< An ordered pattern of 8 x 8 cells. */
  GF_DITHER_FLOYD_STEINBERG = 2 /**< The error goes on to the neighbours. */
} gf_dither;

/** How pixel art is made. Start from GF_PIXELATE_OPTIONS_INIT and set what differs. */
typedef struct gf_pixelate_options {
  uint32_t struct_size;     /**< The macro sets it. */
  uint32_t cell_px;         /**< Pixels of the image a cell, across and down; at most its shorter side. Default 1. */
  uint32_t width_px;        /**< Size of the result, instead of cell_px; no larger than the image. Default 0. */
  uint32_t height_px;       /**< With width_px. */
  uint32_t cell_colour;     /**< gf_cell_colour. */
  uint32_t colour_count;    /**< Colours to find, at most 256. Default 0: those of `palette`, or any. */
  uint32_t palette_count;   /**< Entries of palette, at most 256; not together with colour_count. */
  uint32_t dither;          /**< gf_dither; needs colours. */
  uint32_t dither_percent;  /**< How strong, 1 to 100. Default 100. */
  uint32_t alpha_threshold; /**< From which alpha on a pixel is opaque, 1 to 255. Default 128. */
  const uint32_t* palette;  /**< The colours that the result may have, 0xRRGGBB. */
} gf_pixelate_options;

#define GF_PIXELATE_OPTIONS_INIT \
  { sizeof(gf_pixelate_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/**
 * Makes pixel art: a cell of pixels becomes one, its colour the nearest of a palette in OKLab, its alpha 255, or RGBA 0
 * where its centre, or more than half of it, is transparent.
 *
 * options: read during the call only, the palette too; NULL stands for GF_PIXELATE_OPTIONS_INIT.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT; GF_ERR_UNSUPPORTED (an unknown cell_colour or dither); GF_ERR_INVALID_HANDLE;
 * GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: the host owns *out_image.
 * Threads: any.
 * Blocks: never; computes for a time that grows with the pixels, and with cells times colours.
 */
GF_API gf_status gf_image_pixelate(gf_image* image, const gf_pixelate_options* options, gf_image** out_image);

/**
 * Reads a palette: GIMP's (.gpl) or a list of RRGGBB a line (.hex); the first line tells which. A colour that is there
 * twice is taken once.
 *
 * text:    `size` bytes, at most 1 MiB.
 * colours: 0xRRGGBB each; NULL only asks for their number.
 * count:   in: entries of colours; out: colours there are, 1 to 256.
 *
 * Errors: GF_ERR_SYNTAX_ERROR and GF_ERR_UNSUPPORTED_FORMAT (a colour that is half transparent), with the line;
 * GF_ERR_PAYLOAD_TOO_LARGE (more colours or bytes); GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_palette_parse(const char* text, uint64_t size, uint32_t* colours, uint64_t* count);

/**
 * Reads a file with a palette, as gf_palette_parse does.
 *
 * Errors: GF_ERR_NOT_FOUND; GF_ERR_UNAUTHORISED; GF_ERR_IO; those of gf_palette_parse.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: for the reading of the file.
 */
GF_API gf_status gf_palette_read(const char* path, uint32_t* colours, uint64_t* count);

/**
 * Finds colours for all pixels of some images with an alpha of 128 or more, in OKLab: what frames of one sprite should
 * share. Images that have no more colours give exactly theirs. Dark colours come first.
 *
 * images:       `image_count` images, 1 to 4096.
 * colour_count: how many are wanted at most, 1 to 256.
 * colours:      0xRRGGBB each; NULL only asks for their number.
 * count:        in: entries of colours; out: colours that were found.
 *
 * Errors: GF_ERR_NOT_FOUND where every pixel is transparent; GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_ARGUMENT;
 * GF_ERR_INVALID_HANDLE; GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never; computes for a time that grows with the pixels.
 */
GF_API gf_status gf_palette_find(gf_image* const* images, uint32_t image_count, uint32_t colour_count,
                                 uint32_t* colours, uint64_t* count);

/** Where a height is read from. */
typedef enum gf_height_channel {
  GF_HEIGHT_LUMINANCE = 0, /**< Rec. 709's weights over the encoded values. */
  GF_HEIGHT_RED = 1,
  GF_HEIGHT_GREEN = 2,
  GF_HEIGHT_BLUE = 3,
  GF_HEIGHT_ALPHA = 4
} gf_height_channel;

/** How a normal map is made. Start from GF_NORMAL_MAP_OPTIONS_INIT and set what differs. */
typedef struct gf_normal_map_options {
  uint32_t struct_size; /**< The macro sets it. */
  uint32_t channel;     /**< gf_height_channel. */
  uint32_t wrap_x;      /**< 1: the left and the right edge are neighbours, for tiles. Default 0. */
  uint32_t wrap_y;      /**< 1: the upper and the lower edge are. Default 0. */
  uint32_t green_down;  /**< 1: green points down the image (DirectX, Unreal); 0, the default: up (OpenGL, Unity). */
  uint32_t reserved;    /**< 0. */
  double strength;      /**< Pixels that 0 to 255 is high, -1000 to 1000; negative turns it inside out. Default 8. */
} gf_normal_map_options;

#define GF_NORMAL_MAP_OPTIONS_INIT \
  { sizeof(gf_normal_map_options), 0, 0, 0, 0, 0, 0 }

/**
 * Makes a normal map in tangent space of a height: each component of the unit vector is 128 + 127 times it, flat is
 * (128, 128, 255). Alpha is the image's, or 255 where it was the height.
 *
 * options: NULL stands for GF_NORMAL_MAP_OPTIONS_INIT.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT; GF_ERR_UNSUPPORTED (an unknown channel); GF_ERR_INVALID_HANDLE;
 * GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: the host owns *out_image.
 * Threads: any.
 * Blocks: never; computes for a time that grows with the pixels.
 */
GF_API gf_status gf_image_normal_map(gf_image* image, const gf_normal_map_options* options, gf_image** out_image);

/** How frames are laid out on a sheet. */
typedef enum gf_sheet_layout {
  GF_SHEET_PACKED = 0, /**< Wherever there is room. */
  GF_SHEET_GRID = 1    /**< In cells of the largest frame, row by row. */
} gf_sheet_layout;

/** How a sprite sheet is packed. Start from GF_SHEET_OPTIONS_INIT and set what differs. */
typedef struct gf_sheet_options {
  uint32_t struct_size;      /**< The macro sets it. */
  uint32_t layout;           /**< gf_sheet_layout. */
  uint32_t columns;          /**< Of a grid. Default: about square. */
  uint32_t padding_px;       /**< Transparent pixels between frames, at most 256. */
  uint32_t border_px;        /**< Around all of them, at most 256. */
  uint32_t extrude_px;       /**< How often each frame's edge is repeated around it, at most 64. */
  uint32_t max_side_px;      /**< Of the sheet. Default 16384, which is the most. */
  uint32_t trim;             /**< 1: transparent rows and columns around a frame are left out. */
  uint32_t power_of_two;     /**< 1: both sides of the sheet are. */
  uint32_t merge_duplicates; /**< 1: frames with equal pixels share a place. */
} gf_sheet_options;

#define GF_SHEET_OPTIONS_INIT \
  { sizeof(gf_sheet_options), 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** Where a frame lies, in pixels. */
typedef struct gf_sheet_frame {
  uint32_t x; /**< In the sheet. */
  uint32_t y;
  uint32_t width_px; /**< Of what is in the sheet. */
  uint32_t height_px;
  uint32_t trim_x; /**< Where that lay in the frame. */
  uint32_t trim_y;
  uint32_t source_width_px; /**< Of the frame as it was. */
  uint32_t source_height_px;
} gf_sheet_frame;

/**
 * Packs frames into one image; they are never turned. The same frames and options give the same sheet.
 *
 * images:     `count` frames, 1 to 4096.
 * options:    NULL stands for GF_SHEET_OPTIONS_INIT.
 * out_frames: receives `count` places, in the order of the images; left as it was when the call fails. May be NULL.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT, also when the frames do not fit; GF_ERR_UNSUPPORTED (an unknown layout);
 * GF_ERR_INVALID_HANDLE; GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: the host owns *out_image.
 * Threads: any.
 * Blocks: never; computes for a time that grows with the pixels, and with the square of the frames.
 */
GF_API gf_status gf_image_pack(gf_image* const* images, uint32_t count, const gf_sheet_options* options,
                               gf_image** out_image, gf_sheet_frame* out_frames);

/** The shapes of an atlas. */
typedef enum gf_atlas_format {
  GF_ATLAS_ASEPRITE_HASH = 0,      /**< Aseprite's json-hash: frames by name, with durations. */
  GF_ATLAS_ASEPRITE_ARRAY = 1,     /**< Aseprite's json-array: frames in order. */
  GF_ATLAS_TEXTUREPACKER_HASH = 2, /**< TexturePacker's JSON (Hash). */
  GF_ATLAS_TEXTUREPACKER_ARRAY = 3 /**< TexturePacker's JSON (Array). */
} gf_atlas_format;

/** Frames that are one animation. */
typedef struct gf_atlas_tag {
  const char* name;
  uint32_t first_frame; /**< From 0. */
  uint32_t last_frame;  /**< That one too. */
} gf_atlas_tag;

/** What an atlas says beside places. Start from GF_ATLAS_OPTIONS_INIT and set what differs. */
typedef struct gf_atlas_options {
  uint32_t struct_size;         /**< The macro sets it. */
  uint32_t format;              /**< gf_atlas_format. */
  const char* image_name;       /**< The sheet's file, as a loader looks for it. NULL: not told. */
  const char* const* names;     /**< Of the frames, each once. NULL: "0", "1", ... */
  const uint32_t* durations_ms; /**< Of the frames, in Aseprite's shapes. NULL: 100 each. */
  const gf_atlas_tag* tags;     /**< In Aseprite's shapes. */
  uint32_t tag_count;           /**< Entries of tags, at most 4096. */
  uint32_t reserved;            /**< 0. */
} gf_atlas_options;

#define GF_ATLAS_OPTIONS_INIT \
  { sizeof(gf_atlas_options), 0, 0, 0, 0, 0, 0, 0 }

/**
 * Gives the atlas of a sheet as JSON.
 *
 * frames:              `count` places, as gf_image_pack gave them; 1 to 4096.
 * width_px, height_px: of the sheet.
 * options:             read during the call only, the texts too; NULL stands for GF_ATLAS_OPTIONS_INIT.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT, also for a frame outside of the sheet, a name that is there twice and a tag outside
 * of the frames; GF_ERR_UNSUPPORTED (an unknown format; tags in TexturePacker's shapes); GF_ERR_BUFFER_TOO_SMALL;
 * GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_atlas_json(const gf_sheet_frame* frames, uint32_t count, uint32_t width_px, uint32_t height_px,
                               const gf_atlas_options* options, char* buffer, uint64_t* size);

/* ---- Latents files ---------------------------------------------------------------------------------------------- */

/**
 * Reads a latents file: safetensors with one tensor `latents` of four dimensions, float32 (f16 and bf16 are widened).
 *
 * buffer: NULL only asks for the shape.
 * count:  in: values that fit into buffer; out: values there are.
 * shape:  receives four lengths: images, channels, height, width.
 *
 * Errors: GF_ERR_NOT_FOUND; GF_ERR_CORRUPT_FILE; GF_ERR_UNSUPPORTED_FORMAT; GF_ERR_BUFFER_TOO_SMALL; GF_ERR_IO;
 * GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: for the reading of the file.
 */
GF_API gf_status gf_latents_read(const char* path, float* buffer, uint64_t* count, uint32_t shape[4]);

/**
 * Writes a latents file, whole or not at all.
 *
 * values: shape[0] * shape[1] * shape[2] * shape[3] floats.
 *
 * Errors: GF_ERR_NOT_FOUND (no such folder); GF_ERR_UNAUTHORISED; GF_ERR_DISK_FULL; GF_ERR_IO; GF_ERR_INVALID_ARGUMENT.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: for the writing of the file.
 */
GF_API gf_status gf_latents_write(const char* path, const float* values, const uint32_t shape[4]);

/* ---- Diagnosis -------------------------------------------------------------------------------------------------- */

/**
 * Examines what generation needs and reports it as one JSON object: the library and its parts, the backend (found
 * where, of which version, or why not), model folders with their models, processor and memory; and under "problems"
 * what is missing and how to get it. Opens the backend if it can.
 *
 * options: as for gf_engine_open.
 *
 * Errors: those of gf_engine_open; GF_ERR_BUFFER_TOO_SMALL. A problem that is found is no error.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: for the loading of the backend's shared objects, seconds on a cold disk.
 */
GF_API gf_status gf_doctor_json(const gf_engine_options* options, char* buffer, uint64_t* size);

/* ---- Migrations ------------------------------------------------------------------------------------------------- *
 *
 * Versioned schema for SQLite and PostgreSQL, of a host's own tables; no engine is needed. A migrator is opened over
 * one database and one set of files, and carries out one work at a time on a thread of its own: a work is started, may
 * be watched and cancelled, and is over when gf_migrator_wait says so.
 *
 *     gf_migrator_options options = GF_MIGRATOR_OPTIONS_INIT;
 *     options.url = "sqlite:game.db";
 *     options.folder = "migrations";
 *     gf_migrator* migrator = NULL;
 *     gf_migrator_info info = GF_MIGRATOR_INFO_INIT;
 *     if (gf_migrator_open(&options, &migrator) != GF_OK || gf_migrator_apply(migrator, NULL) != GF_OK) {
 *       puts(gf_last_error_message());
 *       return 1;
 *     }
 *     while (gf_migrator_wait(migrator, 100 * 1000, &info) == GF_ERR_TIMED_OUT) {
 *       printf("%u of %u\n", (unsigned)info.done_count, (unsigned)info.step_count);
 *     }
 *     gf_migrator_close(migrator, 1000000);
 *
 * Each migration is applied whole, together with its record, or not at all; one whose file says `transaction: off` is
 * marked with the statement at which it stopped. What a file looks like: docs/migrations.md.
 */

/** A migrator. From gf_migrator_open, to gf_migrator_close. */
typedef struct gf_migrator gf_migrator;

/** Bits of gf_migrator_options.flags. */
typedef enum gf_migrator_flags {
  GF_MIGRATOR_ALLOW_OUT_OF_ORDER = 1, /**< Files behind the newest applied version run too, and are recorded as late. */
  GF_MIGRATOR_ALL_OR_NOTHING = 2,     /**< All pending migrations in one transaction. */
  GF_MIGRATOR_NO_CHECKS =
      4, /**< SQLite: statements are not compiled on a scratch database before anything is applied. */
  GF_MIGRATOR_NO_LOCK_RETRIES = 8 /**< A migration that waited for a table in vain is not tried again. */
} gf_migrator_flags;

/** Where a hook is called. */
typedef enum gf_migration_moment {
  GF_MIGRATION_BEFORE = 1, /**< Nothing of the migration has begun. */
  GF_MIGRATION_AFTER = 2   /**< It is applied, or undone, and recorded. */
} gf_migration_moment;

/** Which way a migration goes. */
typedef enum gf_migration_direction { GF_MIGRATION_UP = 1, GF_MIGRATION_DOWN = 2 } gf_migration_direction;

/**
 * Called before and after each migration, on the migrator's thread. Anything but GF_OK ends the run with that status;
 * what was applied stays. `label` is the migration's ("003_users"), valid during the call; `direction` is
 * gf_migration_direction, `moment` gf_migration_moment. May call anything but gf_migrator_close on its own migrator.
 */
typedef gf_status (*gf_migration_hook)(void* user_data, const char* label, uint32_t direction, uint32_t moment);

/** Which database, which files, and how they are run. Start from GF_MIGRATOR_OPTIONS_INIT and set what differs. */
typedef struct gf_migrator_options {
  uint32_t struct_size; /**< The macro sets it. */
  uint32_t flags;       /**< gf_migrator_flags. */
  /** "sqlite:PATH" or "postgresql://...", for which libpq is opened. NULL: only what needs no database can be done. */
  const char* url;
  const char* folder;                 /**< Of the files. NULL: the files are file_names and file_texts. */
  const char* const* file_names;      /**< Files that the host brings along: "003_users.sql", ... */
  const char* const* file_texts;      /**< Their texts, in the same order. */
  const char* const* variable_names;  /**< Values of ${name}, for files that declare it. */
  const char* const* variable_values; /**< In the same order. */
  uint32_t file_count;                /**< Entries of file_names and file_texts; 0 with a folder. */
  uint32_t variable_count;            /**< Entries of variable_names and variable_values. */
  const char* applied_by;             /**< Who, for the records. NULL: user, host and process, as the system tells. */
  const char* tool_version;           /**< Which program, for the records. NULL: GameForge's version. */
  int64_t lock_wait_us;               /**< How long another runner is waited for that does not get on: no new
                                         record, and no statement that works. Default 60 s. */
  int64_t lock_timeout_us;            /**< How long a statement waits for a table. Default 3 s. */
  int64_t statement_timeout_us;       /**< How long a statement may take. Default 0: without limit. */
  uint32_t lock_retries;              /**< How often a migration that waited in vain is tried again. Default 5. */
  uint32_t reserved;                  /**< 0. */
  gf_migration_hook hook;             /**< NULL: none. */
  void* hook_user_data;               /**< Passed to hook. */
} gf_migrator_options;

#define GF_MIGRATOR_OPTIONS_INIT \
  { sizeof(gf_migrator_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** Where a plan leads. */
typedef enum gf_migration_goal_kind {
  GF_MIGRATION_GOAL_UP = 0,             /**< Apply what is pending, up to `version` where that is not 0. */
  GF_MIGRATION_GOAL_ROLLBACK = 1,       /**< Undo the migration `version`. */
  GF_MIGRATION_GOAL_ROLLBACK_TO = 2,    /**< Undo what was applied after `version`, which stays; 0: undo all. */
  GF_MIGRATION_GOAL_ROLLBACK_STEPS = 3, /**< Undo the last `steps` applied. */
  GF_MIGRATION_GOAL_REDO = 4 /**< Undo the migration `version`, or with 0 the last one, and apply it again. */
} gf_migration_goal_kind;

/** A goal. Start from GF_MIGRATION_GOAL_INIT, which means: apply all that is pending. */
typedef struct gf_migration_goal {
  uint32_t struct_size; /**< The macro sets it. */
  uint32_t kind;        /**< gf_migration_goal_kind. */
  int64_t version;
  uint32_t steps; /**< ROLLBACK_STEPS: at least 1. */
  uint32_t
      cascade; /**< ROLLBACK, REDO: 1 undoes first what depends on the migration; 0 refuses then, with its names. */
} gf_migration_goal;

#define GF_MIGRATION_GOAL_INIT \
  { sizeof(gf_migration_goal), 0, 0, 0, 0 }

/** What a migrator can be asked to do. */
typedef enum gf_migrator_work {
  GF_MIGRATOR_WORK_NONE = 0, /**< Nothing was started yet. */
  GF_MIGRATOR_WORK_PLAN = 1,
  GF_MIGRATOR_WORK_APPLY = 2,
  GF_MIGRATOR_WORK_PROVE = 3,
  GF_MIGRATOR_WORK_STATUS = 4,
  GF_MIGRATOR_WORK_VALIDATE = 5,
  GF_MIGRATOR_WORK_ROUND_TRIP = 6,
  GF_MIGRATOR_WORK_BASELINE = 7,
  GF_MIGRATOR_WORK_REPAIR = 8,
  GF_MIGRATOR_WORK_DUMP = 9,
  GF_MIGRATOR_WORK_DIFF = 10,
  GF_MIGRATOR_WORK_DRIFT = 11
} gf_migrator_work;

/** How the last work of a migrator stands. */
typedef struct gf_migrator_info {
  uint32_t struct_size;      /**< Set by the caller: GF_MIGRATOR_INFO_INIT. */
  uint32_t work;             /**< gf_migrator_work. */
  uint32_t running;          /**< 1 while it runs. */
  uint32_t status;           /**< gf_status: why it could not be carried out; GF_OK while it runs. */
  uint32_t step_count;       /**< Migrations of the plan; validate, round trip: migrations looked at. */
  uint32_t done_count;       /**< Of them done. */
  uint32_t drop_count;       /**< Statements of the plan that lose data. */
  uint32_t warning_count;    /**< In the report. */
  uint32_t problem_count;    /**< Found by a work that was carried out: errors, drift, differences. */
  uint32_t problem_status;   /**< gf_status of the first of them. */
  uint32_t entry_count;      /**< Status: entries for gf_migrator_entry. */
  uint32_t pending_count;    /**< Status: migrations that gf_migrator_apply would run. */
  int64_t highest_applied;   /**< Status: the highest version that is applied; 0: none. */
  uint32_t line;             /**< Failed at a statement: its line in the file, from 1; 0: unknown. */
  uint32_t column;           /**< And the column, in characters from 1. */
  uint64_t statement_number; /**< And which statement of its section, from 1. */
  int64_t waited_us;         /**< For other runners. */
  int64_t check_us;          /**< Checks before the run, and the schema's snapshot behind it. */
  int64_t apply_us;          /**< The migrations themselves. */
} gf_migrator_info;

#define GF_MIGRATOR_INFO_INIT \
  { sizeof(gf_migrator_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** What an event of a migrator tells. */
typedef enum gf_migration_event_type {
  GF_MIGRATION_EVENT_WAITING = 1,   /**< For another runner, whom the text names. Only the newest is kept. */
  GF_MIGRATION_EVENT_RETRYING = 2,  /**< A migration is tried again; the text says why. */
  GF_MIGRATION_EVENT_CHECKING = 3,  /**< The plan is being checked. */
  GF_MIGRATION_EVENT_STARTED = 4,   /**< A migration begins. */
  GF_MIGRATION_EVENT_STATEMENT = 5, /**< `statement` of `statement_count` is done. Only the newest is kept. */
  GF_MIGRATION_EVENT_FINISHED = 6,  /**< A migration is applied, or undone, and recorded. */
  GF_MIGRATION_EVENT_FAILED = 7,    /**< A migration failed; the text says why and what is kept. */
  GF_MIGRATION_EVENT_ENDED = 8      /**< The last one of each work: it is over, with `status`. */
} gf_migration_event_type;

/** One event. Flat: no pointers, nothing to free. */
typedef struct gf_migration_event {
  uint32_t struct_size; /**< Set by the caller: GF_MIGRATION_EVENT_INIT. */
  uint32_t type;        /**< gf_migration_event_type. */
  uint32_t direction;   /**< gf_migration_direction; 0 where no migration is meant. */
  uint32_t status;      /**< gf_status; of ENDED. */
  int64_t version;      /**< 0: repeatable, or none is meant. */
  uint64_t statement;   /**< From 1, of statement_count. */
  uint64_t statement_count;
  int64_t elapsed_us; /**< Of the migration, or of the wait. */
} gf_migration_event;

#define GF_MIGRATION_EVENT_INIT \
  { sizeof(gf_migration_event), 0, 0, 0, 0, 0, 0, 0 }

/** How one migration stands. */
typedef enum gf_migration_state {
  GF_MIGRATION_APPLIED = 1,
  GF_MIGRATION_PENDING = 2,
  GF_MIGRATION_EDITED = 3,     /**< Applied; comments or blanks of its file have changed since. */
  GF_MIGRATION_CHANGED = 4,    /**< Applied; its file has changed since. */
  GF_MIGRATION_MISSING = 5,    /**< Applied; its file is gone. */
  GF_MIGRATION_UNKNOWN = 6,    /**< Applied by a newer program: newer than every file. */
  GF_MIGRATION_LATE = 7,       /**< Pending, behind one that is applied. */
  GF_MIGRATION_UNFINISHED = 8, /**< Outside a transaction, and stopped in the middle. */
  GF_MIGRATION_OUTDATED = 9    /**< Repeatable, and its file has changed: it will run again. */
} gf_migration_state;

/** One entry of a status. Its texts come from gf_migrator_entry_text. */
typedef struct gf_migration_entry {
  uint32_t struct_size; /**< Set by the caller: GF_MIGRATION_ENTRY_INIT. */
  uint32_t state;       /**< gf_migration_state. */
  int64_t version;      /**< 0: repeatable. */
  int64_t duration_us;  /**< Of the run that applied it; 0 where none did. */
} gf_migration_entry;

#define GF_MIGRATION_ENTRY_INIT \
  { sizeof(gf_migration_entry), 0, 0, 0 }

/** A text of a status' entry. */
typedef enum gf_migration_text {
  GF_MIGRATION_TEXT_LABEL = 1,      /**< "003_users", "R_views". */
  GF_MIGRATION_TEXT_APPLIED_AT = 2, /**< UTC, "2026-11-24T23:58:41.123456Z"; empty where it is not applied. */
  GF_MIGRATION_TEXT_APPLIED_BY = 3,
  GF_MIGRATION_TEXT_ORIGIN = 4, /**< "run", "baseline", "marked". */
  GF_MIGRATION_TEXT_DETAIL = 5  /**< Unfinished: how far; changed: recorded and present sums. */
} gf_migration_text;

/** What a repair does to the records. Each is recorded with who, when and why. */
typedef enum gf_migration_repair {
  GF_MIGRATION_ACCEPT_EDIT = 1,   /**< The file as it is now counts as what was applied. */
  GF_MIGRATION_MARK_APPLIED = 2,  /**< It was done by hand. */
  GF_MIGRATION_MARK_UNAPPLIED = 3 /**< It was undone by hand. */
} gf_migration_repair;

/**
 * Opens a migrator: the files are read, parsed and ordered; the database is only looked at by works.
 *
 * options:      see gf_migrator_options; what it points to is copied.
 * out_migrator: receives the migrator, or NULL when the call fails.
 *
 * Errors, with a message that begins with FILE:LINE:COLUMN: where a file is at fault: GF_ERR_INVALID_ARGUMENT (option,
 * URL, file name, header, cycle), GF_ERR_SYNTAX_ERROR, GF_ERR_ALREADY_EXISTS (a version or a name twice),
 * GF_ERR_NOT_FOUND (folder, or a migration that another depends on), GF_ERR_PAYLOAD_TOO_LARGE (a file),
 * GF_ERR_UNAUTHORISED, GF_ERR_IO, GF_ERR_UNSUPPORTED (a flag, a field of a newer header), GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: the host owns *out_migrator and closes it.
 * Threads: any.
 * Blocks: for the reading of the files.
 */
GF_API gf_status gf_migrator_open(const gf_migrator_options* options, gf_migrator** out_migrator);

/**
 * Closes a migrator. A work that runs is cancelled; the migration at hand is rolled back, or marked with where it
 * stopped. NULL is allowed and does nothing.
 *
 * timeout_us: waits at most so long for the thread to end; 0 does not wait; negative is refused.
 *
 * Errors: GF_ERR_TIMED_OUT: the thread is still ending, and does so behind this call; the handle is gone all the same.
 * GF_ERR_WRONG_STATE: called by a hook of the same migrator, which stays open. GF_ERR_INVALID_HANDLE, also when it is
 * closed twice; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the migrator is gone.
 * Threads: any, also while other calls on the migrator run.
 * Blocks: until its timeout.
 */
GF_API gf_status gf_migrator_close(gf_migrator* migrator, int64_t timeout_us);

/**
 * Starts to work out what gf_migrator_apply would do, with the statements, what of it loses data, and warnings about
 * what locks or rewrites tables. Nothing is written.
 *
 * goal: NULL stands for GF_MIGRATION_GOAL_INIT.
 *
 * Errors, like every function that starts a work: GF_ERR_WRONG_STATE while another work of the migrator runs;
 * GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT; GF_ERR_UNSUPPORTED (unknown kind); GF_ERR_SHUTTING_DOWN;
 * GF_ERR_OUT_OF_HOST_MEMORY. Nothing was started then. The work's own status is gf_migrator_info's.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_migrator_plan(gf_migrator* migrator, const gf_migration_goal* goal);

/**
 * Starts to carry out a plan: the lock is taken, the records are read, the plan is made and checked, and each migration
 * is run in a transaction of its own together with its record.
 *
 * goal: NULL stands for GF_MIGRATION_GOAL_INIT: everything that is pending.
 *
 * The work's statuses: GF_ERR_CHECKSUM_MISMATCH (a changed file), GF_ERR_NOT_FOUND (a missing file, an unknown
 * version), GF_ERR_SCHEMA_TOO_NEW, GF_ERR_WRONG_STATE (late, unfinished, irreversible, depended on),
 * GF_ERR_SYNTAX_ERROR, GF_ERR_LOCKED, GF_ERR_CANCELLED, GF_ERR_DATABASE, GF_ERR_NETWORK, GF_ERR_UNAUTHORISED,
 * GF_ERR_DISK_FULL, GF_ERR_IO, GF_ERR_CORRUPT_FILE, GF_ERR_TIMED_OUT, GF_ERR_UNSUPPORTED (libpq is not there; all or
 * nothing with a file outside a transaction), or what a hook gave.
 *
 * Errors: as gf_migrator_plan.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_migrator_apply(gf_migrator* migrator, const gf_migration_goal* goal);

/**
 * Starts to prove a plan: it is run on a scratch copy (SQLite: of the whole database; PostgreSQL: of the schema, in a
 * database that is dropped again), and the report tells times, locks and the schema's difference. The database is
 * unchanged after, which is checked. Hooks are not called.
 *
 * in_place: 1 runs it in the database itself, in a transaction that is rolled back, with a short lock timeout;
 * sequences may have moved after. 0: on the copy.
 *
 * Errors: as gf_migrator_plan. The work's statuses are those of gf_migrator_apply, and GF_ERR_SCHEMA_DRIFT when the
 * database was changed by others meanwhile, or its schema cannot be copied.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_migrator_prove(gf_migrator* migrator, const gf_migration_goal* goal, uint32_t in_place);

/**
 * Starts to read how each migration stands, for gf_migrator_entry.
 *
 * Errors: as gf_migrator_plan.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_migrator_status(gf_migrator* migrator);

/**
 * Starts to check the files: names, order, syntax, what locks or cannot be undone, and the folder's file of sums,
 * gameforge.sum, where it has one (an empty one is filled); and with a URL against the database: edits, missing files,
 * drift. What is wrong is counted in gf_migrator_info and told in the report.
 *
 * Errors: as gf_migrator_plan.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_migrator_validate(gf_migrator* migrator);

/**
 * Starts to run every migration up, down and up on a scratch database of the URL's kind (without one: SQLite), and
 * reports those that do not come back to the same schema.
 *
 * Errors: as gf_migrator_plan.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_migrator_round_trip(gf_migrator* migrator);

/**
 * Starts to record every migration up to a version as applied without running it: for a database that has that schema
 * already and no records.
 *
 * version: of a file; at least 1.
 *
 * Errors: as gf_migrator_plan. The work's statuses: GF_ERR_NOT_FOUND, GF_ERR_WRONG_STATE (there are records), and those
 * of gf_migrator_apply.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_migrator_baseline(gf_migrator* migrator, int64_t version);

/**
 * Starts to change the record of one migration, and nothing else.
 *
 * repair:  gf_migration_repair.
 * version: at least 1.
 * reason:  for the record; NULL: none.
 *
 * Errors: as gf_migrator_plan. The work's statuses: GF_ERR_NOT_FOUND, GF_ERR_WRONG_STATE, and gf_migrator_apply's.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_migrator_repair(gf_migrator* migrator, uint32_t repair, int64_t version, const char* reason);

/**
 * Starts to write the live schema as a SQL script, the report's member "dump".
 *
 * Errors: as gf_migrator_plan.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_migrator_dump(gf_migrator* migrator);

/**
 * Starts to compare the live schema with that of the applied files on a scratch database.
 *
 * Errors: as gf_migrator_plan. Differences are counted in gf_migrator_info and told in the report.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_migrator_diff(gf_migrator* migrator);

/**
 * Starts to compare the live schema with that at the end of the last run.
 *
 * Errors: as gf_migrator_plan. The work's status is GF_ERR_WRONG_STATE when no run has ended here yet.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_migrator_drift(gf_migrator* migrator);

/**
 * Asks for the running work to be cancelled: it ends with GF_ERR_CANCELLED between two statements, or while it waits
 * for another runner. Where none runs it does nothing.
 *
 * Errors: GF_ERR_INVALID_HANDLE.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_migrator_cancel(gf_migrator* migrator);

/**
 * Takes the next event of the work, and a text with it: the migration's label, and what there is to say, as
 * "003_users: ...". The next start of a work drops what was not taken.
 *
 * out_event: struct_size set by the caller; filled also when the text does not fit.
 * buffer:    NULL only asks for the text's size, and leaves the event.
 *
 * Errors: GF_ERR_WOULD_BLOCK when there is none; GF_ERR_BUFFER_TOO_SMALL, and the event stays; GF_ERR_INVALID_HANDLE;
 * GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any; one at a time, or each gets some of the events.
 * Blocks: never.
 */
GF_API gf_status gf_migrator_poll(gf_migrator* migrator, gf_migration_event* out_event, char* buffer, uint64_t* size);

/**
 * Waits until the work is over, however it ends: out_info->status tells.
 *
 * timeout_us: at most so long; 0 does not wait; negative is refused.
 * out_info:   may be NULL; else struct_size set by the caller, and filled when the work is over or the time is.
 *
 * Errors: GF_ERR_TIMED_OUT: it still runs. GF_ERR_WRONG_STATE: none was started yet. GF_ERR_INVALID_HANDLE;
 * GF_ERR_INVALID_ARGUMENT.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: until its timeout.
 */
GF_API gf_status gf_migrator_wait(gf_migrator* migrator, int64_t timeout_us, gf_migrator_info* out_info);

/**
 * Gives what the work found or did as one JSON object; {} while it runs, or when it found nothing to tell.
 *
 * Plan, apply, prove, baseline and repair: {"steps": [{"migration", "version", "direction", "file", "reason",
 * "statements", "drops", "warnings", "done", "duration_us", "locks", "changes", ...}, ...], "warnings", "waited_us",
 * "check_us", "apply_us", "changes", "unchanged", and where it failed "failure": {"migration", "file", "line",
 * "column", "statement_number", "statement", "code", "message", "detail", "hint", "advice"}}. Status: {"database",
 * "highest_applied", "pending", "problems", "migrations": [...]}. Validate and round trip: {"checked", "errors",
 * "warnings", "drift"}. Dump: {"dump"}. Diff and drift: {"differences": [{"kind", "name", "expected", "found"}, ...]}.
 *
 * Errors: GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_migrator_report_json(gf_migrator* migrator, char* buffer, uint64_t* size);

/**
 * Tells why the work could not be carried out: the object that gf_last_error_json gives for calls. {} when it could.
 *
 * Errors: GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_migrator_error_json(gf_migrator* migrator, char* buffer, uint64_t* size);

/**
 * Gives one entry of the status that was read last: versioned migrations by version, then repeatable ones by name.
 *
 * index: from 0, below gf_migrator_info's entry_count.
 *
 * Errors: GF_ERR_NOT_FOUND: there is no such entry, or the last work was no gf_migrator_status. GF_ERR_INVALID_HANDLE;
 * GF_ERR_INVALID_ARGUMENT.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_migrator_entry(gf_migrator* migrator, uint32_t index, gf_migration_entry* out_entry);

/**
 * Gives a text of one entry.
 *
 * which: gf_migration_text.
 *
 * Errors: as gf_migrator_entry; GF_ERR_BUFFER_TOO_SMALL; GF_ERR_UNSUPPORTED (unknown text).
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_migrator_entry_text(gf_migrator* migrator, uint32_t index, uint32_t which, char* buffer,
                                        uint64_t* size);

/**
 * Makes the next numbered file of a folder from a template: "004_add_user_preferences.sql" for "add user preferences".
 *
 * buffer: receives the file's path. NULL only asks for its size; then, and when it is too small, no file is made.
 *
 * Errors: GF_ERR_NOT_FOUND (no such folder); GF_ERR_INVALID_ARGUMENT (a name without letter or digit, or a file in the
 * folder whose name is none); GF_ERR_ALREADY_EXISTS (a migration of that name); GF_ERR_BUFFER_TOO_SMALL;
 * GF_ERR_UNAUTHORISED; GF_ERR_DISK_FULL; GF_ERR_IO.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: for the reading of the folder and the writing of the file.
 */
GF_API gf_status gf_migration_create(const char* folder, const char* name, char* buffer, uint64_t* size);

/* ---- Queue ------------------------------------------------------------------------------------------------------ */

/**
 * A queue of jobs: bytes that the host puts in, and that whoever reserves them works on. Within this process, or in
 * Redis (6.2 or later), where any number of workers on any number of machines share it. Usable without an engine.
 *
 *     gf_queue_options options = GF_QUEUE_OPTIONS_INIT;
 *     options.redis_url = "redis://localhost:6379";  // NULL: within this process
 *     gf_queue* queue = NULL;
 *     if (gf_queue_open(&options, &queue) != GF_OK) { puts(gf_last_error_message()); return 1; }
 *
 *     gf_queue_job job = GF_QUEUE_JOB_INIT;
 *     job.payload = (const uint8_t*)"a red potion";
 *     job.payload_bytes = 12;
 *     gf_queue_enqueue(queue, &job, 0, NULL);
 *
 *     uint32_t count = 1;
 *     gf_queue_jobs* jobs = NULL;
 *     if (gf_queue_reserve(queue, "worker 1", 0, 5 * 1000000, &count, &jobs) == GF_OK) {
 *       gf_queue_job_info info = GF_QUEUE_JOB_INFO_INIT;
 *       gf_queue_jobs_info(jobs, 0, &info);
 *       gf_queue_complete(queue, &info.key, NULL);
 *       gf_queue_jobs_release(jobs);
 *     }
 *     gf_queue_close(queue);
 *
 * A job whose enqueue answered GF_OK ends as done, cancelled or expired, or is in the dead letters until somebody
 * removes it there. Who reserves a job holds it under a lease; a lease that runs out, because its worker died, brings
 * the job back. Every take has a fencing token of its own, and what ends, prolongs or changes a run takes the key of
 * that take: with an older one it is GF_ERR_LEASE_LOST, and nothing has changed.
 *
 * All functions of a queue: threads: any. A queue in Redis waits for the server's answers, at most
 * gf_queue_options.command_timeout_us beyond the timeout of the call, and may give GF_ERR_NETWORK, GF_ERR_REDIS,
 * GF_ERR_TIMED_OUT, GF_ERR_UNAUTHORISED and GF_ERR_QUEUE_FULL (the server is out of memory) besides those named. All
 * functions may give GF_ERR_INVALID_HANDLE, GF_ERR_INVALID_ARGUMENT, GF_ERR_UNSUPPORTED (an unknown value) and
 * GF_ERR_OUT_OF_HOST_MEMORY.
 */
typedef struct gf_queue gf_queue;

/** Where a job is. Of the jobs that were accepted each is in exactly one of these, or was removed, which is counted. */
typedef enum gf_queue_state {
  GF_QUEUE_DELAYED = 1, /**< Waits for its time. */
  GF_QUEUE_WAITING = 2, /**< Waits in its lane. */
  GF_QUEUE_RUNNING = 3, /**< Somebody has it under a lease. */
  GF_QUEUE_DONE = 4,
  GF_QUEUE_CANCELLED = 5,
  GF_QUEUE_EXPIRED = 6, /**< Its deadline passed while it waited. */
  GF_QUEUE_DEAD = 7     /**< In the dead letters, from which it can be put back. */
} gf_queue_state;

/** Bits of gf_queue_options.flags. */
typedef enum gf_queue_flags {
  GF_QUEUE_STRICT_SERVER = 1,  /**< A server that may evict keys or keeps nothing on disk is refused, not warned of. */
  GF_QUEUE_NO_EVENTS = 2,      /**< No events are kept. */
  GF_QUEUE_FORGET_FINISHED = 4 /**< Jobs that are over, but for dead letters, are not kept. */
} gf_queue_flags;

/** What an enqueue does that finds the queue full. */
typedef enum gf_queue_overflow {
  GF_QUEUE_REJECT = 0,            /**< GF_ERR_QUEUE_FULL, at the end of the timeout where one is given. */
  GF_QUEUE_DROP_OLDEST_LOWEST = 1 /**< The oldest job of the lowest lane, none above the new one's, becomes a dead
                                     letter. */
} gf_queue_overflow;

/** What an enqueue does that finds the dead letters full. */
typedef enum gf_dead_overflow {
  GF_DEAD_REFUSE = 0,       /**< GF_ERR_QUEUE_FULL; jobs that are in still end there, so that nothing is lost. */
  GF_DEAD_EXPIRE_OLDEST = 1 /**< The oldest dead letter is removed, written to the log, and counted. */
} gf_dead_overflow;

/** Which lane is served next. */
typedef enum gf_lane_order {
  GF_LANES_STRICT = 0,  /**< From above; but jobs that waited too long go first, at most every second time. */
  GF_LANES_WEIGHTED = 1 /**< In turns, by lane_weights. */
} gf_lane_order;

/** How it stands with a lease that gf_queue_hold keeps. */
typedef enum gf_lease_state {
  GF_LEASE_HELD = 1,
  GF_LEASE_CANCEL_REQUESTED = 2, /**< It is the caller's; but end the run: the job never runs again. */
  GF_LEASE_LOST = 3              /**< The job is, or may be, somebody else's: end the run, and write nothing. */
} gf_lease_state;

/** What a failure comes to. */
typedef enum gf_failure_action {
  GF_FAILURE_BY_RULES = 0, /**< As the queue's rules, the status table and the job's policy say. */
  GF_FAILURE_RETRY = 1,    /**< Retry, whatever the status, while attempts are left. */
  GF_FAILURE_DEAD = 2      /**< To the dead letters. */
} gf_failure_action;

/** What an answered call of a queue with a journal outlives. */
typedef enum gf_journal_durability {
  GF_JOURNAL_DISK = 0,  /**< The end of the machine: each answer waits for the disk. */
  GF_JOURNAL_SYSTEM = 1 /**< The end of the process; a power cut may take the newest. */
} gf_journal_durability;

/** How failures with one status are treated, where that is not what the status table says. */
typedef struct gf_retry_rule {
  uint32_t status; /**< gf_status. */
  uint32_t action; /**< gf_failure_action: retry or dead. */
} gf_retry_rule;

/** How a queue works. Start from GF_QUEUE_OPTIONS_INIT and set what differs. Arrays of three are of the lanes high,
 * normal, low. Whoever shares a queue in Redis should give the same. */
typedef struct gf_queue_options {
  uint32_t struct_size;   /**< sizeof(gf_queue_options) in the caller's header; the macro sets it. */
  uint32_t flags;         /**< gf_queue_flags. */
  const char* redis_url;  /**< redis://[[user]:password@]host[:port][/database] or unix://...; NULL: in this process. */
  const char* name_space; /**< In Redis: with `name` what the keys begin with. No braces. Default "gameforge". */
  const char* name;       /**< Default "default". */
  gf_log_callback log_callback; /**< What the queue has to tell, on the thread of the call that found it, or on that
                                   which renews held leases, where gf_queue_close is GF_ERR_WRONG_STATE; or NULL. */
  void* log_user_data;
  uint64_t max_jobs;             /**< That wait or are delayed. Default 1000000; GF_NO_LIMIT. */
  uint64_t max_bytes;            /**< Of their payloads. Default 4 GiB; GF_NO_LIMIT. */
  uint64_t lane_max_jobs[3];     /**< Of each lane. Default none. */
  uint64_t lane_max_bytes[3];    /**< Default none. */
  uint64_t reserved_for_high;    /**< Places of max_jobs that only jobs of high priority may take. Default 0. */
  uint64_t max_payload_bytes;    /**< Default 1 MiB; at most 512 MiB. */
  uint64_t max_result_bytes;     /**< Reference and bytes together. Default 4096; at most 16 MiB. */
  uint64_t max_dead;             /**< Default 10000; GF_NO_LIMIT. */
  uint64_t max_dead_bytes;       /**< Of their payloads. Default 1 GiB; GF_NO_LIMIT. */
  uint64_t kept_finished;        /**< Jobs that are over and can still be read. Default 1000. */
  uint64_t max_idempotency_keys; /**< Default 1000000; GF_NO_LIMIT. */
  int64_t max_age_us;            /**< A job that waits longer ends as expired. Default never. */
  int64_t lane_max_age_us[3];    /**< The same of each lane's jobs; the shorter counts. Default never. */
  int64_t lease_us;              /**< Where a reserve or extend names none. Default 30 s; at least 1 ms. */
  int64_t kept_finished_us;      /**< How long those that are over are kept. Default an hour. */
  int64_t max_dead_us;           /**< A dead letter older than this is removed. Default never. */
  int64_t normal_max_wait_us;    /**< Strict lanes: after so long a normal job goes before high ones. Default 20 s;
                                    GF_NEVER. */
  int64_t low_max_wait_us;       /**< The same of low ones. Default 60 s; GF_NEVER. */
  int64_t command_timeout_us;    /**< Redis: of a call as a whole, with reconnecting. Default 5 s. */
  gf_rate user_start_rate;       /**< Starts of one user's jobs. Who is over it keeps the place. Default no limit. */
  uint32_t overflow;             /**< gf_queue_overflow. */
  uint32_t dead_overflow;        /**< gf_dead_overflow. */
  uint32_t lane_order;           /**< gf_lane_order. */
  uint32_t max_crashes;          /**< Leases that may run out, or be given back, before a job is dead. Default 3. */
  uint32_t lane_weights[3];      /**< Default 6, 3, 1; at most 1000. */
  uint32_t user_running_limit;   /**< Jobs of one user that may run at the same time. Default any number. */
  uint32_t kept_events;          /**< Default 4096; at most 1000000. */
  uint32_t rule_count;           /**< Entries of rules. */
  const gf_retry_rule* rules;    /**< Default: the status table's column `retryable`. */
  uint32_t log_level;            /**< gf_log_level for log_callback. Default GF_LOG_OFF. */
  uint32_t journal_durability;   /**< gf_journal_durability. */
  const char* journal; /**< In this process: the file that keeps the jobs, which is made where there is none; whoever
                          opens it next has them. One process at a time. Default none. */
} gf_queue_options;

#define GF_QUEUE_OPTIONS_INIT                                                                                        \
  {                                                                                                                  \
    sizeof(gf_queue_options), 0, 0, 0, 0, 0, 0, 0, 0, {0, 0, 0}, {0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, 0, {0, 0, 0}, 0, 0, \
        0, 0, 0, 0, {0, 0, 0}, 0, 0, 0, 0, {0, 0, 0}, 0, 0, 0, 0, 0, 0, 0                                            \
  }

/** How long an idempotency key is held. */
typedef enum gf_key_scope {
  GF_KEY_FOR_TIME = 0,      /**< For key_ttl_us from the enqueue, whatever becomes of the job. */
  GF_KEY_UNTIL_STARTED = 1, /**< Until the job is first taken, or ends. */
  GF_KEY_UNTIL_FINISHED = 2 /**< Until the job ends, be it in the dead letters. */
} gf_key_scope;

/** What an enqueue answers whose key is held by another job. */
typedef enum gf_on_duplicate {
  GF_DUPLICATE_JOIN = 0,  /**< The holder's id, as if it had been this enqueue: what a repeat needs whose answer was
                             lost. */
  GF_DUPLICATE_REFUSE = 1 /**< GF_ERR_ALREADY_EXISTS, which names the holder. */
} gf_on_duplicate;

/**
 * What is put into a queue. Names (user, tags, key, content type) are UTF-8 without control characters and at most 128
 * bytes long. Durations are at most 2^50 us, 35 years.
 */
typedef struct gf_queue_job {
  uint32_t struct_size; /**< GF_QUEUE_JOB_INIT sets it. */
  uint32_t priority;    /**< gf_priority. */
  gf_job_id id;         /**< 0: the queue makes one. */
  const char* user;     /**< Users take turns. Default "". */
  const char* content_type;
  const uint8_t* payload; /**< Any bytes; copied. */
  uint64_t payload_bytes;
  const char* const* tags;     /**< At most 16. */
  const char* idempotency_key; /**< Default none. */
  int64_t key_ttl_us;          /**< For GF_KEY_FOR_TIME. Default a day. */
  int64_t delay_us;            /**< Not before so long from now. The queue's clock counts. */
  int64_t deadline_us;         /**< A job not begun so long from now ends as expired. Default never. */
  int64_t retry_base_us; /**< Upper bound of the first wait before a retry; each is twice the last. Default 1 s. */
  int64_t retry_cap_us;  /**< Upper bound of any. Default 5 min. */
  uint32_t max_attempts; /**< Runs that may fail; the last of them ends in the dead letters. Default 3, to 1000. */
  uint32_t tag_count;
  uint32_t key_scope;    /**< gf_key_scope. */
  uint32_t on_duplicate; /**< gf_on_duplicate. */
} gf_queue_job;

#define GF_QUEUE_JOB_INIT \
  { sizeof(gf_queue_job), 0, {0, 0}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** What became of an enqueue. */
typedef struct gf_queue_enqueued {
  uint32_t struct_size; /**< Set by the caller: GF_QUEUE_ENQUEUED_INIT. */
  uint32_t status;      /**< gf_status. */
  gf_job_id id;
  uint32_t duplicate; /**< 1: the key was held, `id` is the holder's, and nothing was added. */
  uint32_t state;     /**< gf_queue_state of the job with that id. */
} gf_queue_enqueued;

#define GF_QUEUE_ENQUEUED_INIT \
  { sizeof(gf_queue_enqueued), 0, {0, 0}, 0, 0 }

/**
 * What proves that a call comes from the holder of a job; always passed by pointer. The token rises by one with every
 * take of the job, so that a store behind the queue can refuse a stale worker as well.
 */
typedef struct gf_lease_key {
  gf_job_id job;
  uint64_t fencing_token;
} gf_lease_key;

/** Answer of a heartbeat. */
typedef struct gf_heartbeat {
  uint32_t struct_size;      /**< Set by the caller: GF_HEARTBEAT_INIT. */
  uint32_t cancel_requested; /**< 1: end the run; whatever it ends with, the job never runs again. */
  int64_t expires_at_us;     /**< By the queue's clock, since the Unix epoch. */
} gf_heartbeat;

#define GF_HEARTBEAT_INIT \
  { sizeof(gf_heartbeat), 0, 0 }

/** What a run gives. Small: large results live in a store, and are named here. */
typedef struct gf_queue_result {
  uint32_t struct_size; /**< GF_QUEUE_RESULT_INIT sets it. */
  uint32_t reserved;    /**< 0. */
  const char* reference;
  const uint8_t* bytes; /**< Copied. */
  uint64_t byte_count;
} gf_queue_result;

#define GF_QUEUE_RESULT_INIT \
  { sizeof(gf_queue_result), 0, 0, 0, 0 }

/** Why a run failed. */
typedef struct gf_queue_failure {
  uint32_t struct_size; /**< GF_QUEUE_FAILURE_INIT sets it. */
  uint32_t status;      /**< gf_status; must not be GF_OK. */
  uint32_t action;      /**< gf_failure_action. */
  uint32_t reserved;    /**< 0. */
  const char* message;  /**< Cut to 2048 bytes. */
} gf_queue_failure;

#define GF_QUEUE_FAILURE_INIT \
  { sizeof(gf_queue_failure), GF_ERR_INTERNAL, 0, 0, 0 }

/** What a failed run, or one given back, comes to. */
typedef struct gf_queue_outcome {
  uint32_t struct_size; /**< Set by the caller: GF_QUEUE_OUTCOME_INIT. */
  uint32_t state;       /**< gf_queue_state: delayed or waiting, it runs again; dead; cancelled, that had been asked. */
  int64_t retry_in_us;  /**< Of delayed. */
} gf_queue_outcome;

#define GF_QUEUE_OUTCOME_INIT \
  { sizeof(gf_queue_outcome), 0, 0 }

/** What a cancel did. */
typedef enum gf_cancel_outcome {
  GF_CANCEL_ENDED = 1,    /**< The job waited, and has ended. */
  GF_CANCEL_REQUESTED = 2 /**< It runs: its holder learns at the next heartbeat, and it never runs again. */
} gf_cancel_outcome;

/** Which jobs a call means. Every field that is set must fit. */
typedef struct gf_queue_filter {
  uint32_t struct_size;  /**< GF_QUEUE_FILTER_INIT sets it. */
  uint32_t state;        /**< gf_queue_state. Default GF_QUEUE_DEAD. */
  uint32_t status;       /**< gf_status of dead letters. Default any. */
  uint32_t reserved;     /**< 0. */
  const char* user;      /**< Default any. */
  const char* tag;       /**< Default any. */
  int64_t older_than_us; /**< In this state (waiting: since its enqueue) for longer than that. Default any. */
} gf_queue_filter;

#define GF_QUEUE_FILTER_INIT \
  { sizeof(gf_queue_filter), 0, 0, 0, 0, 0, 0 }

/** Jobs as they were when they were read or taken; a counted object, apart from the queue. To gf_queue_jobs_release. */
typedef struct gf_queue_jobs gf_queue_jobs;

/** One of them. Times are microseconds since the Unix epoch by the queue's clock, 0 where there is none. Of jobs that
 * were reserved, what a worker needs is filled in: not the history, the policy and the like. */
typedef struct gf_queue_job_info {
  uint32_t struct_size; /**< Set by the caller: GF_QUEUE_JOB_INFO_INIT. */
  uint32_t state;       /**< gf_queue_state. */
  gf_lease_key key;     /**< The id; with the token of the newest take, which is 0 before the first. */
  uint32_t priority;    /**< gf_priority. */
  uint32_t attempt;     /**< Failures so far plus one. */
  uint32_t failures;    /**< Since the enqueue, or since it was put back from the dead letters. */
  uint32_t crashes;     /**< Likewise: leases that ran out, and those given back. */
  uint32_t max_attempts;
  uint32_t cancel_requested;
  uint32_t end_status; /**< gf_status: why it is dead. */
  uint32_t tag_count;
  uint32_t attempt_count; /**< Entries of the history, for gf_queue_jobs_attempt. */
  uint32_t reserved;      /**< 0. */
  int64_t enqueued_us;
  int64_t available_us; /**< When it came, or will come, into its lane. */
  int64_t deadline_us;
  int64_t started_us; /**< Of the newest run. */
  int64_t finished_us;
  int64_t lease_expires_us;
  uint64_t progress_done;
  uint64_t progress_total;
  uint64_t payload_bytes; /**< Of the payload that is at hand: lists have none. */
  uint64_t result_bytes;
} gf_queue_job_info;

#define GF_QUEUE_JOB_INFO_INIT \
  { sizeof(gf_queue_job_info), 0, {{0, 0}, 0}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** How a run ended that did not finish its job. */
typedef enum gf_attempt_end {
  GF_ATTEMPT_FAILED = 1,
  GF_ATTEMPT_CRASHED = 2, /**< The lease ran out: the worker died, or could not be reached. */
  GF_ATTEMPT_RELEASED = 3 /**< Given back by its holder. */
} gf_attempt_end;

/** One entry of a job's history. */
typedef struct gf_queue_attempt {
  uint32_t struct_size; /**< Set by the caller: GF_QUEUE_ATTEMPT_INIT. */
  uint32_t end;         /**< gf_attempt_end. */
  uint64_t fencing_token;
  int64_t started_us;
  int64_t ended_us;
  uint32_t status;   /**< gf_status. */
  uint32_t reserved; /**< 0. */
} gf_queue_attempt;

#define GF_QUEUE_ATTEMPT_INIT \
  { sizeof(gf_queue_attempt), 0, 0, 0, 0, 0, 0 }

/** A text of a job. */
typedef enum gf_queue_text {
  GF_QUEUE_TEXT_USER = 1,
  GF_QUEUE_TEXT_CONTENT_TYPE = 2,
  GF_QUEUE_TEXT_TAG = 3, /**< The one of number `nth`. */
  GF_QUEUE_TEXT_IDEMPOTENCY_KEY = 4,
  GF_QUEUE_TEXT_WORKER = 5, /**< Of the newest run. */
  GF_QUEUE_TEXT_PROGRESS_NOTE = 6,
  GF_QUEUE_TEXT_RESULT_REFERENCE = 7,
  GF_QUEUE_TEXT_END_MESSAGE = 8,    /**< Why it is dead. */
  GF_QUEUE_TEXT_ATTEMPT_WORKER = 9, /**< Of the entry `nth` of the history, as the next. */
  GF_QUEUE_TEXT_ATTEMPT_MESSAGE = 10
} gf_queue_text;

/** Bytes of a job. */
typedef enum gf_queue_bytes { GF_QUEUE_BYTES_PAYLOAD = 1, GF_QUEUE_BYTES_RESULT = 2 } gf_queue_bytes;

/** What an event of a queue tells. */
typedef enum gf_queue_event_type {
  GF_QUEUE_EVENT_ACCEPTED = 1,
  GF_QUEUE_EVENT_STARTED = 2,
  GF_QUEUE_EVENT_RETRIED = 3,   /**< A run failed; the job waits again. */
  GF_QUEUE_EVENT_RELEASED = 4,  /**< Given back by its holder. */
  GF_QUEUE_EVENT_RECOVERED = 5, /**< Its lease ran out; it waits again. */
  GF_QUEUE_EVENT_DONE = 6,
  GF_QUEUE_EVENT_CANCELLED = 7,
  GF_QUEUE_EVENT_EXPIRED = 8,
  GF_QUEUE_EVENT_DEAD = 9,
  GF_QUEUE_EVENT_REQUEUED = 10, /**< Put back from the dead letters. */
  GF_QUEUE_EVENT_REMOVED = 11   /**< A dead letter was purged, or expired. */
} gf_queue_event_type;

/** One event of a queue. Flat: no pointers, nothing to free. */
typedef struct gf_queue_event {
  uint32_t struct_size; /**< Set by the caller: GF_QUEUE_EVENT_INIT. */
  uint32_t type;        /**< gf_queue_event_type. */
  uint64_t sequence;    /**< Rises by one with every event of the queue. */
  gf_job_id job;
  uint64_t fencing_token;
  int64_t unix_us;   /**< By the queue's clock. */
  uint32_t status;   /**< gf_status. */
  uint32_t reserved; /**< 0. */
} gf_queue_event;

#define GF_QUEUE_EVENT_INIT \
  { sizeof(gf_queue_event), 0, 0, {0, 0}, 0, 0, 0, 0 }

/**
 * Figures of a queue. At all times accepted = waiting + delayed + running + done + cancelled + expired + dead +
 * removed. Quantiles are known to 12.5 %.
 */
typedef struct gf_queue_statistics {
  uint32_t struct_size; /**< Set by the caller: GF_QUEUE_STATISTICS_INIT. */
  uint32_t paused;
  uint64_t waiting[3]; /**< By lane: high, normal, low. */
  uint64_t delayed;
  uint64_t running;
  uint64_t dead;
  uint64_t finished_kept;
  uint64_t payload_bytes; /**< Of what waits or is delayed. */
  uint64_t dead_bytes;
  uint64_t users;
  int64_t oldest_waiting_us; /**< How long the oldest job waits; 0 when none does. */
  uint64_t accepted;         /**< From here on: how many there were since the queue was made. */
  uint64_t duplicates;
  uint64_t rejected; /**< For want of room. In Redis, who waits for it counts at each look. */
  uint64_t taken;
  uint64_t renewed;
  uint64_t done;
  uint64_t failed; /**< Runs. */
  uint64_t retried;
  uint64_t released;
  uint64_t recovered;  /**< Leases that ran out. */
  uint64_t fenced_off; /**< Calls with a token that was not the newest. */
  uint64_t cancelled;
  uint64_t expired;
  uint64_t died;    /**< Ways into the dead letters. */
  uint64_t dropped; /**< Of these, for want of room. */
  uint64_t requeued;
  uint64_t removed;    /**< Out of the dead letters for good. */
  uint64_t wait_count; /**< From when a job could run until it was taken. */
  int64_t wait_p50_us;
  int64_t wait_p90_us;
  int64_t wait_p99_us;
  uint64_t run_count; /**< From its take until it was done. */
  int64_t run_p50_us;
  int64_t run_p90_us;
  int64_t run_p99_us;
} gf_queue_statistics;

#define GF_QUEUE_STATISTICS_INIT                                                                                       \
  {                                                                                                                    \
    sizeof(gf_queue_statistics), 0, {0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
        0, 0, 0, 0, 0, 0, 0, 0, 0                                                                                      \
  }

/**
 * Opens a queue. In this process: a new one, which ends with its last use, or goes on where its journal ends. In Redis:
 * the one of that name, which is made where there is none.
 *
 * options:   NULL for the defaults; what it points to is copied.
 * out_queue: receives the queue, or NULL when the call fails.
 *
 * Errors: GF_ERR_UNSUPPORTED (a server before 6.2, TLS, or with GF_QUEUE_STRICT_SERVER); GF_ERR_SCHEMA_TOO_NEW;
 * GF_ERR_WRONG_STATE (the keys in Redis are no queue's). Of a journal: GF_ERR_LOCKED (another process has it),
 * GF_ERR_CORRUPT_FILE, GF_ERR_IO, GF_ERR_DISK_FULL, GF_ERR_DATABASE, GF_ERR_UNAUTHORISED. Those of every queue.
 * Ownership: the queue is the caller's, to gf_queue_close.
 * Threads: any.
 * Blocks: in Redis for its first answers, at most command_timeout_us.
 */
GF_API gf_status gf_queue_open(const gf_queue_options* options, gf_queue** out_queue);

/**
 * Gives other limits and rules from now on. What is in stays in. redis_url, name_space, name, the log's and
 * command_timeout_us are not looked at.
 *
 * Errors: those of every queue.
 * Ownership: what options points to is copied.
 * Threads: any.
 * Blocks: for Redis.
 */
GF_API gf_status gf_queue_configure(gf_queue* queue, const gf_queue_options* options);

/**
 * Lets no enqueue or reserve through this handle begin any more, and ends those that wait, with GF_ERR_SHUTTING_DOWN.
 * What is taken can still be ended, and everything be read.
 *
 * Errors: GF_ERR_INVALID_HANDLE.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_queue_stop(gf_queue* queue);

/**
 * Stops a queue and ends the handle. In this process the jobs end with it, so gf_queue_drain it first; in Redis, and in
 * a journal, they stay, and those that were taken here come back.
 *
 * queue: may be NULL.
 *
 * Errors: GF_ERR_INVALID_HANDLE; GF_ERR_WRONG_STATE from the log callback while a held lease is renewed.
 * Ownership: the handle is gone; jobs that were read or taken stay until they are released.
 * Threads: any; calls that other threads are in end by themselves.
 * Blocks: never; where leases are held here, for a heartbeat that is under way.
 */
GF_API gf_status gf_queue_close(gf_queue* queue);

/**
 * Puts a job in.
 *
 * timeout_us:   how long to wait for room where the queue is full; 0: not at all.
 * out_enqueued: may be NULL.
 *
 * Errors: GF_ERR_QUEUE_FULL names the limit and the figures; GF_ERR_PAYLOAD_TOO_LARGE; GF_ERR_ALREADY_EXISTS (an id in
 * use, or a key as on_duplicate says); GF_ERR_SHUTTING_DOWN; those of every queue.
 * Ownership: everything is copied.
 * Threads: any.
 * Blocks: at most timeout_us, and for Redis.
 */
GF_API gf_status gf_queue_enqueue(gf_queue* queue, const gf_queue_job* job, int64_t timeout_us,
                                  gf_queue_enqueued* out_enqueued);

/**
 * Puts several jobs in, each as if alone, in order, without waiting for room.
 *
 * jobs:         so many, jobs[0].struct_size bytes apart, which is every one's struct_size.
 * out_enqueued: receives what became of each, in the same way; may be NULL.
 *
 * Errors: the first one of a job, with a message that names it; the others are in out_enqueued. Nothing is put in when
 * one of the jobs cannot even be read. Those of gf_queue_enqueue.
 * Ownership: everything is copied.
 * Threads: any.
 * Blocks: for Redis.
 */
GF_API gf_status gf_queue_enqueue_many(gf_queue* queue, const gf_queue_job* jobs, uint32_t count,
                                       gf_queue_enqueued* out_enqueued);

/**
 * Takes jobs that may run now, or waits for the first.
 *
 * worker:   who asks, for records; may be NULL.
 * lease_us: how long they are the caller's; 0: the queue's.
 * count:    at most so many, 1 to 1000; receives how many there are.
 * out_jobs: receives them, or NULL.
 *
 * Errors: GF_ERR_WOULD_BLOCK (none now, without a timeout; a paused queue gives none); GF_ERR_TIMED_OUT (none in time);
 * GF_ERR_SHUTTING_DOWN; those of every queue.
 * Ownership: out_jobs is the caller's, to gf_queue_jobs_release, which leaves the leases as they are.
 * Threads: any.
 * Blocks: at most timeout_us, and for Redis.
 */
GF_API gf_status gf_queue_reserve(gf_queue* queue, const char* worker, int64_t lease_us, int64_t timeout_us,
                                  uint32_t* count, gf_queue_jobs** out_jobs);

/**
 * Prolongs a lease: a heartbeat.
 *
 * lease_us:      from now; 0: the queue's.
 * out_heartbeat: says whether the run shall be cancelled; may be NULL.
 *
 * Errors: GF_ERR_LEASE_LOST: the job is somebody else's, or over; end the run. Those of every queue.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: for Redis.
 */
GF_API gf_status gf_queue_extend(gf_queue* queue, const gf_lease_key* key, int64_t lease_us,
                                 gf_heartbeat* out_heartbeat);

/**
 * Keeps a lease, from a thread of the queue's own, so that the run need not stop for heartbeats: renewed at once, and
 * then each time that a third of it is over, until the run is ended (complete, fail, release_lease) or let go. The run
 * asks gf_queue_hold_state where it would ask whether it is cancelled.
 *
 * lease_us: its length, at least 3000; 0: the queue's. Again for the same lease: the length from then on.
 *
 * Errors: GF_ERR_LEASE_LOST, and then nothing is kept; those of every queue.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: for Redis.
 */
GF_API gf_status gf_queue_hold(gf_queue* queue, const gf_lease_key* key, int64_t lease_us);

/**
 * How it stands with a lease that is kept here. A lease that could not be renewed counts as lost as soon as it may be
 * over, by this machine's monotonic clock, though the server hangs; what was lost stays so.
 *
 * out_state: receives a GF_LEASE_* value.
 *
 * Errors: GF_ERR_NOT_FOUND for one that is not kept here.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_queue_hold_state(gf_queue* queue, const gf_lease_key* key, uint32_t* out_state);

/**
 * Renews a lease no longer. The lease itself stays, until it is over.
 *
 * Errors: GF_ERR_NOT_FOUND for one that is not kept here.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_queue_let_go(gf_queue* queue, const gf_lease_key* key);

/**
 * Says how far a run is, for whoever reads the job.
 *
 * note: cut to 2048 bytes; may be NULL.
 *
 * Errors: GF_ERR_LEASE_LOST; those of every queue.
 * Ownership: everything is copied.
 * Threads: any.
 * Blocks: for Redis.
 */
GF_API gf_status gf_queue_report_progress(gf_queue* queue, const gf_lease_key* key, uint64_t done, uint64_t total,
                                          const char* note);

/**
 * Ends a run well: the job is done.
 *
 * result: may be NULL.
 *
 * Errors: GF_ERR_LEASE_LOST; GF_ERR_PAYLOAD_TOO_LARGE (the result; the run goes on); those of every queue.
 * Ownership: everything is copied.
 * Threads: any.
 * Blocks: for Redis.
 */
GF_API gf_status gf_queue_complete(gf_queue* queue, const gf_lease_key* key, const gf_queue_result* result);

/**
 * Ends several runs well, each as if alone.
 *
 * results:      as many, results[0].struct_size bytes apart; NULL: none.
 * out_statuses: receives the gf_status of each; may be NULL.
 *
 * Errors: the first one of a run, with a message that names it. Those of gf_queue_complete.
 * Ownership: everything is copied.
 * Threads: any.
 * Blocks: for Redis.
 */
GF_API gf_status gf_queue_complete_many(gf_queue* queue, const gf_lease_key* keys, const gf_queue_result* results,
                                        uint32_t count, uint32_t* out_statuses);

/**
 * Ends a run that failed: the job waits again, or goes to the dead letters.
 *
 * out_outcome: which of the two; may be NULL.
 *
 * Errors: GF_ERR_LEASE_LOST; those of every queue.
 * Ownership: everything is copied.
 * Threads: any.
 * Blocks: for Redis.
 */
GF_API gf_status gf_queue_fail(gf_queue* queue, const gf_lease_key* key, const gf_queue_failure* failure,
                               gf_queue_outcome* out_outcome);

/**
 * Gives a job back: to its place, or with a delay to a later time. It costs no attempt, but counts as a crash does.
 *
 * out_outcome: may be NULL.
 *
 * Errors: GF_ERR_LEASE_LOST; those of every queue.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: for Redis.
 */
GF_API gf_status gf_queue_release_lease(gf_queue* queue, const gf_lease_key* key, int64_t delay_us,
                                        gf_queue_outcome* out_outcome);

/**
 * Cancels a job: at once where it waits; where it runs, its holder is told by the next heartbeat.
 *
 * out_outcome: receives a gf_cancel_outcome; may be NULL.
 *
 * Errors: GF_ERR_NOT_FOUND; GF_ERR_WRONG_STATE (it is over); those of every queue.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: for Redis.
 */
GF_API gf_status gf_queue_cancel(gf_queue* queue, const gf_job_id* job, uint32_t* out_outcome);

/**
 * Reads one job whole.
 *
 * Errors: GF_ERR_NOT_FOUND, also for one that is over and no longer kept; those of every queue.
 * Ownership: out_jobs is the caller's, to gf_queue_jobs_release.
 * Threads: any.
 * Blocks: for Redis.
 */
GF_API gf_status gf_queue_get(gf_queue* queue, const gf_job_id* job, gf_queue_jobs** out_jobs);

/**
 * Reads jobs, without payloads, page by page. Jobs that are there all the time are listed exactly once.
 *
 * filter: NULL: all dead letters.
 * cursor: NULL or "" for the first page; else gf_queue_jobs_cursor of the page before.
 * limit:  1 to 1000. A page may hold fewer, and more may follow: only an empty cursor is the end.
 *
 * Errors: those of every queue.
 * Ownership: out_jobs is the caller's, to gf_queue_jobs_release.
 * Threads: any.
 * Blocks: for Redis.
 */
GF_API gf_status gf_queue_list(gf_queue* queue, const gf_queue_filter* filter, const char* cursor, uint32_t limit,
                               gf_queue_jobs** out_jobs);

/**
 * Removes all jobs that fit: cancels what waits or is delayed, forgets what is over, removes dead letters.
 *
 * filter:      NULL: all dead letters. Running jobs are GF_ERR_UNSUPPORTED: they are cancelled one by one.
 * out_changed: receives how many, also with an error; may be NULL.
 *
 * Errors: GF_ERR_TIMED_OUT: more may be left; those of every queue.
 * Ownership: nothing passes.
 * Threads: any; it works in portions, between which others go on.
 * Blocks: at most timeout_us and one portion.
 */
GF_API gf_status gf_queue_purge(gf_queue* queue, const gf_queue_filter* filter, int64_t timeout_us,
                                uint64_t* out_changed);

/**
 * Puts a dead letter back: its attempts begin anew, id and history stay. Limits of depth are not asked.
 *
 * Errors: GF_ERR_NOT_FOUND; GF_ERR_WRONG_STATE (it is not dead); those of every queue.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: for Redis.
 */
GF_API gf_status gf_queue_requeue(gf_queue* queue, const gf_job_id* job);

/**
 * Puts all dead letters back that fit.
 *
 * filter:      of dead letters; NULL: all.
 * out_changed: receives how many, also with an error; may be NULL.
 *
 * Errors: GF_ERR_TIMED_OUT: more may be left; those of every queue.
 * Ownership: nothing passes.
 * Threads: any; it works in portions.
 * Blocks: at most timeout_us and one portion.
 */
GF_API gf_status gf_queue_requeue_many(gf_queue* queue, const gf_queue_filter* filter, int64_t timeout_us,
                                       uint64_t* out_changed);

/**
 * Pauses a queue, in Redis for all workers: it accepts jobs and hands none out; or lets it go on.
 *
 * paused: 1 or 0.
 *
 * Errors: those of every queue.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: for Redis.
 */
GF_API gf_status gf_queue_pause(gf_queue* queue, uint32_t paused);

/**
 * Pauses a queue and waits until no job runs any more.
 *
 * Errors: GF_ERR_TIMED_OUT: some still run, and the queue stays paused; those of every queue.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: at most timeout_us, and for Redis.
 */
GF_API gf_status gf_queue_drain(gf_queue* queue, int64_t timeout_us);

/**
 * Does what is due (leases that ran out, delays, deadlines, retention), as every reserve does too: for a host that only
 * puts jobs in. In bounded portions.
 *
 * out_more: receives 1 while more is due, else 0; may be NULL.
 *
 * Errors: those of every queue.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: for Redis.
 */
GF_API gf_status gf_queue_sweep(gf_queue* queue, uint32_t* out_more);

/**
 * Reads the figures of a queue, at a cost that does not depend on its size.
 *
 * Errors: those of every queue.
 * Ownership: out_statistics is the caller's.
 * Threads: any.
 * Blocks: for Redis.
 */
GF_API gf_status gf_queue_read_statistics(gf_queue* queue, gf_queue_statistics* out_statistics);

/**
 * Gives the same as one JSON object, with the whole histograms.
 *
 * Errors: GF_ERR_BUFFER_TOO_SMALL; those of every queue.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: for Redis.
 */
GF_API gf_status gf_queue_statistics_json(gf_queue* queue, char* buffer, uint64_t* size);

/**
 * Gives the same for Prometheus (text format 0.0.4), as gameforge_queue_* with the label `queue`.
 *
 * Errors: GF_ERR_BUFFER_TOO_SMALL; those of every queue.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: for Redis.
 */
GF_API gf_status gf_queue_prometheus_text(gf_queue* queue, char* buffer, uint64_t* size);

/**
 * Reads how many jobs of a user wait and run.
 *
 * Errors: those of every queue.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: for Redis.
 */
GF_API gf_status gf_queue_user_statistics(gf_queue* queue, const char* user, uint64_t* out_waiting,
                                          uint64_t* out_running);

/**
 * Reads events, oldest first. Any number of readers, each with a place of its own.
 *
 * after:      the sequence of the last event that was read, 0 for what is still kept; moves on.
 * timeout_us: how long to wait for a first.
 * count:      room of out_events, 1 to 1000; receives how many there are.
 * out_events: out_events[0].struct_size bytes apart, which is every one's struct_size.
 * out_missed: receives how many events after *after are no longer kept; may be NULL.
 *
 * Errors: GF_ERR_WOULD_BLOCK (none now, without a timeout); GF_ERR_TIMED_OUT; GF_ERR_UNSUPPORTED
 * (GF_QUEUE_NO_EVENTS); those of every queue.
 * Ownership: out_events is the caller's.
 * Threads: any.
 * Blocks: at most timeout_us, and for Redis.
 */
GF_API gf_status gf_queue_read_events(gf_queue* queue, uint64_t* after, int64_t timeout_us, uint32_t* count,
                                      gf_queue_event* out_events, uint64_t* out_missed);

/**
 * Says how many jobs there are.
 *
 * Errors: GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_queue_jobs_count(gf_queue_jobs* jobs, uint32_t* out_count);

/**
 * Describes one of the jobs.
 *
 * index: from 0.
 *
 * Errors: GF_ERR_NOT_FOUND past the last; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: out_info is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_queue_jobs_info(gf_queue_jobs* jobs, uint32_t index, gf_queue_job_info* out_info);

/**
 * Describes one entry of a job's history.
 *
 * nth: from 0, oldest first.
 *
 * Errors: as gf_queue_jobs_info.
 * Ownership: out_attempt is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_queue_jobs_attempt(gf_queue_jobs* jobs, uint32_t index, uint32_t nth,
                                       gf_queue_attempt* out_attempt);

/**
 * Gives a text of one of the jobs.
 *
 * which: gf_queue_text. nth: for those of which there are several.
 *
 * Errors: GF_ERR_NOT_FOUND; GF_ERR_UNSUPPORTED (unknown text); GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_HANDLE;
 * GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_queue_jobs_text(gf_queue_jobs* jobs, uint32_t index, uint32_t which, uint32_t nth, char* buffer,
                                    uint64_t* size);

/**
 * Gives bytes of one of the jobs, without a copy.
 *
 * which: gf_queue_bytes. size: receives how many.
 *
 * Errors: GF_ERR_NOT_FOUND; GF_ERR_UNSUPPORTED (unknown bytes); GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the library's; valid until gf_queue_jobs_release.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_queue_jobs_bytes(gf_queue_jobs* jobs, uint32_t index, uint32_t which, const uint8_t** out_bytes,
                                     uint64_t* size);

/**
 * Gives all that is known of one of the jobs as one JSON object, without payload and result bytes.
 *
 * Errors: GF_ERR_NOT_FOUND; GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_queue_jobs_json(gf_queue_jobs* jobs, uint32_t index, char* buffer, uint64_t* size);

/**
 * Gives the cursor for the page that follows this one of a list; empty after the last.
 *
 * Errors: GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_queue_jobs_cursor(gf_queue_jobs* jobs, char* buffer, uint64_t* size);

/**
 * Gives back what was read. Leases stay as they are.
 *
 * jobs: may be NULL.
 *
 * Errors: GF_ERR_INVALID_HANDLE.
 * Ownership: the handle and its bytes are gone.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_queue_jobs_release(gf_queue_jobs* jobs);

/* ---- Rate limiter ----------------------------------------------------------------------------------------------- */

/** Token buckets of users, of queues and of all, in this process or, shared, in Redis. To gf_rate_limiter_close. */
typedef struct gf_rate_limiter gf_rate_limiter;

/** Limits. Each user of a class has a bucket of their own; those of no class, or of one that is not named, go by
 * per_user. */
typedef struct gf_rate_limiter_options {
  uint32_t struct_size;   /**< GF_RATE_LIMITER_OPTIONS_INIT sets it. */
  uint32_t class_count;   /**< Entries of class_names and class_rates. */
  const char* redis_url;  /**< As in gf_queue_options. */
  const char* name_space; /**< Who gives the same shares the buckets. Default "gameforge". */
  gf_rate global;
  gf_rate per_queue;
  gf_rate per_user;
  const char* const* class_names;
  const gf_rate* class_rates;
  int64_t command_timeout_us; /**< As in gf_queue_options. */
} gf_rate_limiter_options;

#define GF_RATE_LIMITER_OPTIONS_INIT \
  { sizeof(gf_rate_limiter_options), 0, 0, 0, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, 0, 0, 0 }

/** Who asks for tokens. */
typedef struct gf_rate_question {
  uint32_t struct_size; /**< GF_RATE_QUESTION_INIT sets it. */
  uint32_t tokens;      /**< Default 1. */
  const char* queue;    /**< Default "". */
  const char* user;     /**< Default "". */
  const char* user_class;
} gf_rate_question;

#define GF_RATE_QUESTION_INIT \
  { sizeof(gf_rate_question), 0, 0, 0, 0 }

/** The answer. */
typedef struct gf_rate_answer {
  uint32_t struct_size;   /**< Set by the caller: GF_RATE_ANSWER_INIT. */
  uint32_t remaining;     /**< Whole tokens left in the emptiest bucket that was asked. */
  int64_t retry_after_us; /**< 0 when admitted; else the shortest wait after which the same call is admitted. */
} gf_rate_answer;

#define GF_RATE_ANSWER_INIT \
  { sizeof(gf_rate_answer), 0, 0 }

/**
 * Opens a rate limiter. In Redis it connects at the first question.
 *
 * options: what it points to is copied.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT names the limit; GF_ERR_UNSUPPORTED; GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: the limiter is the caller's, to gf_rate_limiter_close.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_rate_limiter_open(const gf_rate_limiter_options* options, gf_rate_limiter** out_limiter);

/**
 * Gives other limits, from the next question on; redis_url and name_space are not looked at.
 *
 * Errors: as gf_rate_limiter_open; GF_ERR_INVALID_HANDLE.
 * Ownership: what options points to is copied.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_rate_limiter_configure(gf_rate_limiter* limiter, const gf_rate_limiter_options* options);

/**
 * Takes tokens from every bucket that is concerned, or from none: what is refused is not charged.
 *
 * out_answer: may be NULL.
 *
 * Errors: GF_ERR_RATE_LIMITED, and out_answer says when to try again; GF_ERR_INVALID_ARGUMENT, also for more tokens
 * than a burst, which no wait would help; those of a server, as for a queue.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: for Redis, at most command_timeout_us.
 */
GF_API gf_status gf_rate_limiter_take(gf_rate_limiter* limiter, const gf_rate_question* question,
                                      gf_rate_answer* out_answer);

/**
 * Ends a rate limiter.
 *
 * limiter: may be NULL.
 *
 * Errors: GF_ERR_INVALID_HANDLE.
 * Ownership: the handle is gone.
 * Threads: any; calls that other threads are in end by themselves.
 * Blocks: never.
 */
GF_API gf_status gf_rate_limiter_close(gf_rate_limiter* limiter);

/* ---- Logger ----------------------------------------------------------------------------------------------------- */

/**
 * Structured logging, usable without an engine:
 *
 *     gf_logger_options options = GF_LOGGER_OPTIONS_INIT;
 *     options.file_path = "logs/game.log";
 *     gf_logger* logger = NULL;
 *     if (gf_logger_open(&options, &logger) == GF_OK) {
 *       gf_logger_log(logger, GF_LOG_INFO, "game", "the level is loaded");
 *       gf_logger_close(logger, 1000000);
 *     }
 *
 * A call copies its line into a ring of the thread and returns; a thread of the logger makes the text, masks passwords
 * and tokens, tells lines that repeat in one, and hands them to what was asked for: a ring to poll, a callback, a
 * descriptor, a file that rotates. While nothing is logged it sleeps. Lines that are lost for want of room are counted
 * and told. One line is one line: what would end or forge it is escaped.
 */
typedef struct gf_logger gf_logger;

/** How a line looks. */
typedef enum gf_log_format {
  GF_LOG_FORMAT_PLAIN = 0, /**< The message and what belongs to it, "message key=value"; level and time are apart. For
                              descriptor and file it stands for GF_LOG_FORMAT_TEXT. */
  GF_LOG_FORMAT_TEXT = 1,  /**< "2026-11-25T03:04:05.123456Z error module [thread] message key=value". */
  GF_LOG_FORMAT_JSON = 2   /**< One object: time, level, module, thread, message, job, trace_id, span_id, fields. */
} gf_log_format;

/** How a logger works. Start from GF_LOGGER_OPTIONS_INIT and set what differs. */
typedef struct gf_logger_options {
  uint32_t struct_size;       /**< GF_LOGGER_OPTIONS_INIT sets it. */
  uint32_t level;             /**< gf_log_level that is let through. Default GF_LOG_INFO. */
  uint32_t ring_bytes;        /**< Of each thread; a power of two, 64 KiB to 16 MiB. Default 256 KiB. */
  uint32_t ring_limit;        /**< Threads with a ring of their own; further ones share one. To 1024. Default 15. */
  int64_t full_wait_us;       /**< A call waits so long for room in a full ring before its line is lost; at most 1 s.
                                 Default 10 ms; GF_NEVER: it does not. */
  uint32_t wait_level;        /**< gf_log_level: lines of a lesser level never wait. Default GF_LOG_DEBUG, all may. */
  uint32_t repeats_per_s;     /**< Lines of one kind (level, module, text but for its numbers) that are shown in a
                                 second; the rest is told in one. Default 50; UINT32_MAX: all are shown. */
  uint32_t poll_lines;        /**< Lines kept for gf_logger_poll, to 65536; the oldest go first. Default 0: none. */
  uint32_t poll_format;       /**< gf_log_format. */
  gf_log_callback callback;   /**< Called on the logger's thread, one call at a time; or NULL. May call anything but
                                 gf_logger_flush and gf_logger_close; what it logs to this logger is not taken. */
  void* user_data;            /**< Passed to callback. */
  uint32_t callback_format;   /**< gf_log_format of the message. */
  uint32_t descriptor;        /**< An open descriptor to write to, such as 2; it stays the host's. Default 0: none. */
  uint32_t descriptor_format; /**< gf_log_format; default GF_LOG_FORMAT_TEXT. */
  uint32_t file_format;       /**< The same. */
  const char* file_path;    /**< "logs/game.log"; older files are game.1.log and so on. Folders are made. NULL: none. */
  uint64_t file_max_bytes;  /**< The file is begun anew before it grows past this; at least 1024. Default 16 MiB. */
  uint32_t file_kept_files; /**< Older files that are kept, to 999. Default 5; UINT32_MAX: none. */
  uint32_t keep_crash_note; /**< 1: the last lines are kept for gf_crash_note_write. Default 0. */
} gf_logger_options;

#define GF_LOGGER_OPTIONS_INIT \
  { sizeof(gf_logger_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** What a value is. */
typedef enum gf_log_value_kind {
  GF_LOG_VALUE_TEXT = 0,    /**< text; at most 512 bytes are kept. */
  GF_LOG_VALUE_INTEGER = 1, /**< integer. */
  GF_LOG_VALUE_NATURAL = 2, /**< The bits of integer, without a sign. */
  GF_LOG_VALUE_REAL = 3,    /**< real. */
  GF_LOG_VALUE_TRUTH = 4    /**< integer: 0 or 1. */
} gf_log_value_kind;

/** A value of a line. */
typedef struct gf_log_value {
  uint32_t kind;     /**< gf_log_value_kind. */
  uint32_t reserved; /**< 0. */
  const char* text;
  int64_t integer;
  double real;
} gf_log_value;

/** A value with a name. Text behind a name such as "password", "token" or "api_key" is masked. */
typedef struct gf_log_field {
  const char* key;
  gf_log_value value;
} gf_log_field;

/** A line with all that may belong to one. What it points to is copied. */
typedef struct gf_log_line {
  uint32_t struct_size; /**< GF_LOG_LINE_INIT sets it. */
  uint32_t level;       /**< gf_log_level, not GF_LOG_OFF. */
  const char* module;   /**< Who says it, such as "game"; at most 64 bytes are kept. */
  const char*
      message; /**< At most 16384 bytes are kept, and the line says how many went. With arguments it is a format:
                  "{} of {:>4}" as Python and C++'s std::format have it, with widths of at most four digits; it
                  is filled in behind the caller. One that does not fit is counted and shown as it came. */
  const gf_log_value* arguments;
  const gf_log_field* fields;
  uint32_t argument_count; /**< To 16. */
  uint32_t field_count;    /**< To 16. */
  const gf_job_id* job;    /**< NULL: none. */
  const char* traceparent; /**< As W3C Trace Context has it, "00-<32 hex digits>-<16 hex digits>-01"; NULL: none. */
} gf_log_line;

#define GF_LOG_LINE_INIT \
  { sizeof(gf_log_line), 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** What became of the lines so far. */
typedef struct gf_logger_statistics {
  uint32_t struct_size;   /**< Set by the caller: GF_LOGGER_STATISTICS_INIT. */
  uint32_t reserved;      /**< 0. */
  uint64_t written;       /**< Taken into a ring. */
  uint64_t shown;         /**< Handed on, those about losses and repeats included. */
  uint64_t dropped_error; /**< Lost for want of room or memory, by level. */
  uint64_t dropped_warning;
  uint64_t dropped_info;
  uint64_t dropped_debug;
  uint64_t left_out;        /**< Told in one, because they repeat. */
  uint64_t output_failures; /**< Writes that a callback threw at, or a descriptor or file refused. */
  uint64_t masked;          /**< Lines in which a secret was masked. */
  uint64_t format_errors;   /**< Lines whose format did not fit its arguments. */
  uint64_t recursive;       /**< Lines that a callback wrote to the logger that was calling it. */
  uint64_t wake_ups;        /**< Of the logger's thread. */
} gf_logger_statistics;

#define GF_LOGGER_STATISTICS_INIT \
  { sizeof(gf_logger_statistics), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/**
 * Opens a logger and starts its thread.
 *
 * options: NULL for the defaults, which show lines nowhere; what it points to is copied, but for the descriptor.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT names the option; GF_ERR_UNSUPPORTED; GF_ERR_OUT_OF_HOST_MEMORY; GF_ERR_IO when the
 * thread could not be started; those of opening the file.
 * Ownership: the logger is the caller's, to gf_logger_close.
 * Threads: any.
 * Blocks: for the opening of a file.
 */
GF_API gf_status gf_logger_open(const gf_logger_options* options, gf_logger** out_logger);

/**
 * Sets what is let through from now on.
 *
 * level: gf_log_level; GF_LOG_OFF lets nothing through.
 *
 * Errors: GF_ERR_UNSUPPORTED; GF_ERR_INVALID_HANDLE.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_logger_set_level(gf_logger* logger, uint32_t level);

/**
 * Logs a text. A level that is not let through is not an error; nor is a line that is lost, which the log tells and
 * gf_logger_read_statistics counts. An error is with the outputs within 10 ms.
 *
 * level: gf_log_level, not GF_LOG_OFF.
 *
 * Errors: GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT; GF_ERR_UNSUPPORTED (a level that is none).
 * Ownership: the texts are copied.
 * Threads: any.
 * Blocks: while its ring is full, at most full_wait_us.
 */
GF_API gf_status gf_logger_log(gf_logger* logger, uint32_t level, const char* module, const char* message);

/**
 * Logs a line with what belongs to it.
 *
 * Errors: as gf_logger_log; GF_ERR_UNSUPPORTED also for a kind of value that is none.
 * Ownership: all is copied.
 * Threads: any.
 * Blocks: while its ring is full, at most full_wait_us.
 */
GF_API gf_status gf_logger_write(gf_logger* logger, const gf_log_line* line);

/**
 * Takes the next line of the ring to poll: in the plain format module, a tab, message; in the others the whole line.
 *
 * out_record: struct_size set by the caller.
 * buffer:     receives the text; with NULL, *size receives the need of the next line, which stays.
 *
 * Errors: GF_ERR_WOULD_BLOCK when there is none, or poll_lines was 0; GF_ERR_BUFFER_TOO_SMALL, and the line stays;
 * GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any; lines are handed out once.
 * Blocks: never.
 */
GF_API gf_status gf_logger_poll(gf_logger* logger, gf_log_record* out_record, char* buffer, uint64_t* size);

/**
 * Returns when every line that this thread has logged is with the outputs, and in the file.
 *
 * timeout_us: at most so long; negative is refused.
 *
 * Errors: GF_ERR_TIMED_OUT; GF_ERR_WRONG_STATE from inside the callback, and in a fork's child; GF_ERR_INVALID_HANDLE;
 * GF_ERR_INVALID_ARGUMENT.
 * Ownership: nothing passes.
 * Threads: any but the callback's.
 * Blocks: until its timeout.
 */
GF_API gf_status gf_logger_flush(gf_logger* logger, int64_t timeout_us);

/**
 * Says what became of the lines so far.
 *
 * Errors: GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: out_statistics is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_logger_read_statistics(gf_logger* logger, gf_logger_statistics* out_statistics);

/**
 * Takes no more lines, hands on those that were logged, and ends the logger's thread. No callback begins once it has
 * returned.
 *
 * logger:     may be NULL.
 * timeout_us: at most so long; negative is refused.
 *
 * Errors: GF_ERR_TIMED_OUT when the callback, the descriptor or the file took longer: the rest is lost, and the thread
 * ends behind the call (the handle is gone all the same); GF_ERR_WRONG_STATE from inside the callback, and the logger
 * stays open; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the handle is gone.
 * Threads: any but the callback's, also while others log.
 * Blocks: until its timeout.
 */
GF_API gf_status gf_logger_close(gf_logger* logger, int64_t timeout_us);

/* ---- Crash note ------------------------------------------------------------------------------------------------- */

/**
 * Writes to a descriptor what was going on: memory held, running jobs, and the last 64 lines of the log, of the engines
 * and loggers that were opened with keep_crash_note. For the host's own crash handler; the library installs none. Text,
 * about 16 KiB at most. Async-signal-safe, so it leaves the thread's last error and errno as they are.
 *
 * Errors: GF_ERR_IO when the descriptor did not take all of it.
 * Ownership: nothing passes.
 * Threads: any, also in a signal handler.
 * Blocks: as long as write(2) does.
 */
GF_API gf_status gf_crash_note_write(int32_t descriptor);

/**
 * Keeps a line of the host's own for the crash note: its first 240 bytes, with passwords and tokens masked.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT; GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: the text is copied.
 * Threads: any, but not in a signal handler.
 * Blocks: never.
 */
GF_API gf_status gf_crash_note_keep(const char* line);

/* ---- Error aggregator ------------------------------------------------------------------------------------------- */

/**
 * Tells which of ten thousand errors matter: errors of one kind are one group, by status, place and codes, or by a
 * text's template, never by the numbers in it; groups that come far more often than before raise an alert. In fixed
 * memory, usable without an engine:
 *
 *     gf_error_report report = GF_ERROR_REPORT_INIT;
 *     report.status = GF_ERR_NETWORK;
 *     report.place = "matchmaking";
 *     report.message = "no answer from 10.0.0.7";
 *     gf_aggregator_record(aggregator, &report);
 *
 * Its memory is about 1.6 KiB a group. When there are too many groups, the one seen least recently goes, counted.
 */
typedef struct gf_aggregator gf_aggregator;

/** How an aggregator works. */
typedef struct gf_aggregator_options {
  uint32_t struct_size;    /**< GF_AGGREGATOR_OPTIONS_INIT sets it. */
  uint32_t group_limit;    /**< To 65535. Default 4096. */
  uint32_t template_limit; /**< Of them, groups of texts without a status. Default 1000, or group_limit if less. */
  uint32_t alert_limit;    /**< Alerts kept to be polled; the oldest go first, counted. Default 256. */
  uint32_t alert_from;     /**< gf_severity: groups below raise no alert. Default GF_SEVERITY_WARNING. */
  uint32_t reserved;       /**< 0. */
  int64_t cooldown_us;     /**< A group alarms again only so long after it was resolved. Default 5 min. */
  int64_t still_every_us;  /**< How often an alert that stands is told again; at least 1 s. Default 1 h. */
} gf_aggregator_options;

#define GF_AGGREGATOR_OPTIONS_INIT \
  { sizeof(gf_aggregator_options), 0, 0, 0, 0, 0, 0, 0 }

/** Whose a foreign code is. */
typedef enum gf_foreign_domain {
  GF_FOREIGN_NONE = 0,
  GF_FOREIGN_SYSTEM = 1,   /**< errno */
  GF_FOREIGN_SQLSTATE = 2, /**< Its five characters as a number of base 256. */
  GF_FOREIGN_SQLITE = 3,
  GF_FOREIGN_CUDA = 4,
  GF_FOREIGN_HTTP = 5,
  GF_FOREIGN_REDIS = 6
} gf_foreign_domain;

/** What a lower layer said. */
typedef struct gf_error_cause {
  uint32_t status;         /**< gf_status. */
  uint32_t foreign_domain; /**< gf_foreign_domain. */
  int64_t foreign_number;
  const char* message; /**< May be NULL. */
} gf_error_cause;

/** An error, for gf_aggregator_record and gf_error_store_record. Texts may be NULL; of long ones the beginning is kept.
 */
typedef struct gf_error_report {
  uint32_t struct_size;    /**< GF_ERROR_REPORT_INIT sets it. */
  uint32_t status;         /**< gf_status; GF_OK: a foreign text that has no code, grouped by its words without numbers,
                              ids, paths and quoted parts. */
  uint32_t severity;       /**< gf_severity. Default: the status's; of a text, error. */
  uint32_t foreign_domain; /**< gf_foreign_domain: a number of somebody else's that tells errors apart. */
  int64_t foreign_number;
  const char*
      message;        /**< The store needs it. For people: of an error with a status it is no part of what groups it. */
  const char* place;  /**< Where it arose, such as a function's name: a part of what groups it. */
  const char* module; /**< Whose it is; of a text a part of what groups it. */
  const char* model;  /**< What it belongs to. */
  const char* user;
  const char* device;
  const char* const* context_keys; /**< What goes with it, to 16; an aggregator keeps none of it. */
  const char* const* context_values;
  const gf_error_cause* causes; /**< From near to far, to 16; their statuses tell groups apart. */
  uint32_t context_count;
  uint32_t cause_count;
  int64_t unix_us; /**< When; 0: now. Times that step back count as the latest. The store takes the server's time. */
} gf_error_report;

#define GF_ERROR_REPORT_INIT \
  { sizeof(gf_error_report), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/**
 * Makes an aggregator.
 *
 * options: NULL for the defaults.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT names the option; GF_ERR_UNSUPPORTED; GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: the aggregator is the caller's, to gf_aggregator_close.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_aggregator_open(const gf_aggregator_options* options, gf_aggregator** out_aggregator);

/**
 * Counts an error. Where there is no memory for its group it is counted as lost, which is not an error of this call.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT; GF_ERR_UNSUPPORTED (a status, severity or code that is none); GF_ERR_INVALID_HANDLE.
 * Ownership: all is copied.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_aggregator_record(gf_aggregator* aggregator, const gf_error_report* report);

/**
 * From now on groups are new or old by this version of the host.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT; GF_ERR_INVALID_HANDLE; GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: the text is copied.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_aggregator_set_version(gf_aggregator* aggregator, const char* version);

/**
 * Gives the groups with most errors, most first, as a JSON array of {"fingerprint", "title", "sample", "status",
 * "severity", "first_us", "last_us", "in_window", "total", "by_severity", "first_version", "alarming"}.
 *
 * window_us: looks back so far; up to a day.
 * count:     at most so many groups; 1 to 1000.
 *
 * Errors: GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_aggregator_top_json(gf_aggregator* aggregator, int64_t window_us, uint32_t count, char* buffer,
                                        uint64_t* size);

/**
 * Takes the next alert as one JSON object: {"what": "opened", "still" or "resolved", "at_us", "kind": "fast" or "slow",
 * "window_us", "count", "baseline_per_s", "opened_us", "gave_up", "group": as in gf_aggregator_top_json}. One spike is
 * one "opened" and one "resolved". Poll about once a second, since alerts end by time.
 *
 * buffer: receives the text; with NULL, *size receives the need of the next alert, which stays.
 *
 * Errors: GF_ERR_WOULD_BLOCK when there is none; GF_ERR_BUFFER_TOO_SMALL, and the alert stays; GF_ERR_INVALID_HANDLE;
 * GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any; alerts are handed out once.
 * Blocks: never.
 */
GF_API gf_status gf_aggregator_poll_alert_json(gf_aggregator* aggregator, char* buffer, uint64_t* size);

/**
 * Gives the counts (errors, groups, what was evicted or lost, memory) and patterns (groups that come together, that
 * belong to one model, user or device, that are new in this version) as one JSON object.
 *
 * Errors: GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_aggregator_report_json(gf_aggregator* aggregator, char* buffer, uint64_t* size);

/**
 * Ends an aggregator.
 *
 * aggregator: may be NULL.
 *
 * Errors: GF_ERR_INVALID_HANDLE.
 * Ownership: the handle is gone.
 * Threads: any; calls that other threads are in end by themselves.
 * Blocks: never.
 */
GF_API gf_status gf_aggregator_close(gf_aggregator* aggregator);

/* ---- Recovery strategies ---------------------------------------------------------------------------------------- */

/** What is done about a failure inside an engine. */
typedef enum gf_recovery {
  GF_RECOVERY_PASS = 0,  /**< Not this strategy's business: the next one is asked, the library's own last. */
  GF_RECOVERY_RETRY = 1, /**< The same again, after the wait that is asked for. */
  GF_RECOVERY_ABORT = 2  /**< The job fails, and nobody else is asked. */
} gf_recovery;

/** One failure of a part of a job. */
typedef struct gf_failure {
  uint32_t struct_size; /**< sizeof(gf_failure) in the library's header. */
  uint32_t status;      /**< gf_status. */
  uint32_t failures;    /**< Of this part so far, this one included. */
  uint32_t reserved;
  const char* operation; /**< "load", "encode" or "image"; static. */
  const char* message;   /**< Valid during the call. */
} gf_failure;

#define GF_FAILURE_INIT \
  { sizeof(gf_failure), 0, 0, 0, 0, 0 }

/**
 * Decides about a failure, on an executor's thread; several calls may run at a time. May do what mends it, such as
 * freeing memory, and may call anything but gf_engine_close. *wait_us is 0; with GF_RECOVERY_RETRY it may be set to the
 * shortest wait. An answer that is none, and a C++ exception, count as GF_RECOVERY_PASS.
 *
 * Returns: gf_recovery.
 */
typedef uint32_t (*gf_recovery_callback)(void* user_data, const gf_failure* failure, int64_t* wait_us);

/** A strategy of the host's. Those for a status are asked before those for a category, and those before the ones for
 * everything; of equals the last that was added first. */
typedef struct gf_recovery_strategy {
  uint32_t struct_size;          /**< GF_RECOVERY_STRATEGY_INIT sets it. */
  uint32_t status;               /**< gf_status that it is for; GF_OK: by category, or everything. */
  const char* name;              /**< Also the name of its counts in gf_engine_statistics_json. */
  const char* category;          /**< Such as "network": docs/errors.md has the list. NULL: any. */
  gf_recovery_callback callback; /**< Not NULL. */
  void* user_data;               /**< Passed to callback. */
} gf_recovery_strategy;

#define GF_RECOVERY_STRATEGY_INIT \
  { sizeof(gf_recovery_strategy), 0, 0, 0, 0, 0 }

/**
 * Adds a strategy to an engine.
 *
 * Errors: GF_ERR_ALREADY_EXISTS when the name is taken; GF_ERR_INVALID_ARGUMENT; GF_ERR_UNSUPPORTED (a status or
 * category that is none); GF_ERR_INVALID_HANDLE; GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: the texts are copied; user_data must stay until no call can begin any more.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_engine_add_strategy(gf_engine* engine, const gf_recovery_strategy* strategy);

/**
 * Takes a strategy away. No call of it begins once this has returned; one that has begun may still run. The same holds
 * for all strategies once gf_engine_close has returned.
 *
 * Errors: GF_ERR_NOT_FOUND; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_engine_remove_strategy(gf_engine* engine, const char* name);

/* ---- Circuit breaker -------------------------------------------------------------------------------------------- */

/**
 * A circuit breaker: stops calling a service that fails, and finds out by itself when it is well again. Usable without
 * an engine:
 *
 *     gf_breaker_permit permit;
 *     if (gf_breaker_allow(breaker, &permit, NULL) == GF_OK) {
 *       gf_breaker_report(breaker, &permit, call_the_service(), 0);
 *     }
 *
 * A permit must be reported once; one that is not is a call that says nothing, and where it was a probe's, its lease
 * ends by itself. Time is the library's monotonic clock.
 */
typedef struct gf_breaker gf_breaker;

/** States of a breaker. */
typedef enum gf_breaker_state {
  GF_BREAKER_CLOSED = 0,        /**< Calls go through and are counted. */
  GF_BREAKER_OPEN = 1,          /**< Calls are refused for a time. */
  GF_BREAKER_HALF_OPEN = 2,     /**< A few calls are let through to probe. */
  GF_BREAKER_FORCED_OPEN = 3,   /**< Until told otherwise. */
  GF_BREAKER_FORCED_CLOSED = 4, /**< Lets everything through and counts, but never trips. */
  GF_BREAKER_DISABLED = 5       /**< Lets everything through and counts nothing. */
} gf_breaker_state;

/** What a rate is of. */
typedef enum gf_breaker_window {
  GF_BREAKER_WINDOW_TIME = 0, /**< The calls of the last window_us. */
  GF_BREAKER_WINDOW_COUNT = 1 /**< The last window_calls calls. */
} gf_breaker_window;

/** When a breaker trips. Times are at most 7 days. */
typedef struct gf_breaker_options {
  uint32_t struct_size;       /**< GF_BREAKER_OPTIONS_INIT sets it. */
  uint32_t window;            /**< gf_breaker_window. */
  uint32_t window_calls;      /**< To 1000. Default 100. */
  uint32_t minimum_calls;     /**< In the window before a rate means anything. Default 10. */
  double failure_rate;        /**< Trips at this share of failures; to 1. Default 0.5. */
  double slow_rate;           /**< Trips at this share of slow calls, those under way included. Default 0.8. */
  int64_t window_us;          /**< Default 10 min; at least 10 ms. */
  int64_t slow_call_us;       /**< A call of at least so long is slow. Default: none is. */
  int64_t open_us;            /**< How long it stays open, and up to a quarter more. Default 30 s. */
  int64_t max_open_us;        /**< Bounds what a report may ask for by retry_after_us. Default 10 min. */
  int64_t probe_lease_us;     /**< A probe that says nothing for so long has failed. Default 60 s. */
  uint32_t failures_in_a_row; /**< Trips at so many, whatever the window holds. Default 5; UINT32_MAX: never. */
  uint32_t probes;            /**< Calls that half-open lets through; to 16. Default 3. */
  uint32_t probes_to_close;   /**< Successes among them that close it. Default 2. */
  uint32_t ignored_count;     /**< Entries of ignored. */
  const uint32_t* ignored;    /**< Statuses (gf_status) that say nothing about the service, beside those that never do:
                                 what the caller did wrong or took back. */
} gf_breaker_options;

#define GF_BREAKER_OPTIONS_INIT \
  { sizeof(gf_breaker_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** Leave for one call: numbers to be handed back, by any thread. */
typedef struct gf_breaker_permit {
  uint32_t generation;
  uint32_t probe;
  uint64_t lease;
  int64_t begun_us;
} gf_breaker_permit;

/** How a breaker stands. */
typedef struct gf_breaker_info {
  uint32_t struct_size; /**< Set by the caller: GF_BREAKER_INFO_INIT. */
  uint32_t state;       /**< gf_breaker_state; an open one whose time is over shows as half-open. */
  int64_t open_for_us;  /**< How long it stays open; 0 unless open. */
  uint64_t window_calls;
  uint64_t window_failures;
  uint64_t window_slow;
  uint64_t successes; /**< From here on: since it was made. */
  uint64_t failures;
  uint64_t not_counted;
  uint64_t refused;
  uint64_t trips;
} gf_breaker_info;

#define GF_BREAKER_INFO_INIT \
  { sizeof(gf_breaker_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/**
 * Makes a circuit breaker.
 *
 * options: NULL for the defaults; what it points to is copied.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT names the option; GF_ERR_UNSUPPORTED; GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: the breaker is the caller's, to gf_breaker_close.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_breaker_open(const gf_breaker_options* options, gf_breaker** out_breaker);

/**
 * Asks for leave for one call, which begins now.
 *
 * out_permit:         what gf_breaker_report wants.
 * out_retry_after_us: receives, with a refusal, the shortest wait after which a call may be let through; may be NULL.
 *
 * Errors: GF_ERR_BREAKER_OPEN: do not call; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_breaker_allow(gf_breaker* breaker, gf_breaker_permit* out_permit, int64_t* out_retry_after_us);

/**
 * Tells how a call ended that was let through.
 *
 * status:         GF_OK, or what the call failed with. GF_ERR_CANCELLED, a caller's mistakes and the ignored ones say
 *                 nothing about the service, and free a probe's place at once.
 * retry_after_us: how long the service asked to be left alone; 0: it did not say.
 *
 * Errors: GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT; GF_ERR_UNSUPPORTED (a status that is none).
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_breaker_report(gf_breaker* breaker, const gf_breaker_permit* permit, uint32_t status,
                                   int64_t retry_after_us);

/**
 * Sets a state by hand: closed (with empty counts), forced open, forced closed or disabled.
 *
 * state: gf_breaker_state; open and half-open are the breaker's own.
 *
 * Errors: GF_ERR_UNSUPPORTED; GF_ERR_INVALID_HANDLE.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_breaker_force(gf_breaker* breaker, uint32_t state);

/**
 * Says how a breaker stands.
 *
 * Errors: GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: out_info is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_breaker_describe(gf_breaker* breaker, gf_breaker_info* out_info);

/**
 * Says the same as one JSON object, with what is missing to trip.
 *
 * Errors: GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_breaker_json(gf_breaker* breaker, char* buffer, uint64_t* size);

/**
 * Ends a breaker.
 *
 * breaker: may be NULL.
 *
 * Errors: GF_ERR_INVALID_HANDLE.
 * Ownership: the handle is gone; permits that were not reported need not be.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_breaker_close(gf_breaker* breaker);

/* ---- Shared circuit breakers ------------------------------------------------------------------------------------ */

/**
 * Circuit breakers that many processes share through Redis: what one finds out the others hear of within milliseconds,
 * and when the break is over all of them together let no more calls through than one would. No call of gf_breaker_allow
 * or gf_breaker_report ever waits for the server: threads of the library carry the news. Where it cannot be reached
 * each process goes on with its own breakers. Usable without an engine:
 *
 *     gf_shared_breakers_options options = GF_SHARED_BREAKERS_OPTIONS_INIT;
 *     options.redis_url = "redis://127.0.0.1";
 *     if (gf_shared_breakers_open(&options, &shared) == GF_OK) {
 *       gf_shared_breakers_share(shared, breaker, "image store", 0);
 *     }
 *
 * To gf_shared_breakers_close.
 */
typedef struct gf_shared_breakers gf_shared_breakers;

/** How breakers are shared. */
typedef struct gf_shared_breakers_options {
  uint32_t struct_size; /**< GF_SHARED_BREAKERS_OPTIONS_INIT sets it. */
  uint32_t quorum; /**< In how many processes a breaker must have tripped before it opens for all, so that a machine
                      that is sick by itself opens its own alone; to 1000. Default 2. */
  const char* redis_url;        /**< As in gf_queue_options. */
  const char* name_space;       /**< Who gives the same shares the breakers; no braces. Default "gameforge". */
  int64_t vote_us;              /**< For how long a process's trip counts; 1 s to 7 days. Default 10 min. */
  int64_t command_timeout_us;   /**< Of a turn to the server; 10 ms to 60 s. Default 0.5 s. */
  int64_t stale_us;             /**< After so long without the server, forced states are forgotten; 1 s to 7 days.
                                   Default 30 s. */
  int64_t flush_us;             /**< How often counts are sent while there are new ones; 10 ms to 1 h. Default 1 s. */
  int64_t look_every_us;        /**< How long a process that hears nothing sleeps; 100 ms to 1 h. Default 15 s. */
  gf_log_callback log_callback; /**< What there is to tell, on a thread of the library; or NULL. */
  void* log_user_data;
  uint32_t log_level; /**< gf_log_level; lines above are not told. Default off. */
  uint32_t reserved;  /**< 0 */
} gf_shared_breakers_options;

#define GF_SHARED_BREAKERS_OPTIONS_INIT \
  { sizeof(gf_shared_breakers_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/**
 * Begins to share breakers. The server is reached in the background.
 *
 * options: redis_url is needed; what it points to is copied, but for log_user_data.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT names the option; GF_ERR_UNSUPPORTED; GF_ERR_IO (no thread);
 * GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: it is the caller's, to gf_shared_breakers_close.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_shared_breakers_open(const gf_shared_breakers_options* options, gf_shared_breakers** out_shared);

/**
 * Shares a breaker under a name, once, for as long as both are open.
 *
 * name:       1 to 200 bytes. Who uses the same name in the same name space shares the breaker.
 * timeout_us: how long to wait until the present state is known; 0: it comes within a turn to the server.
 *
 * Errors: GF_ERR_ALREADY_EXISTS (the breaker is shared already); GF_ERR_TIMED_OUT: it is shared, and goes on alone
 * until the server is heard; GF_ERR_SCHEMA_TOO_NEW, GF_ERR_WRONG_STATE: what is in the server under the name is not of
 * this version, or somebody else's, and the breaker goes on alone; GF_ERR_OVER_BUDGET (4096 are shared);
 * GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: nothing passes; either may be closed first.
 * Threads: any.
 * Blocks: at most timeout_us.
 */
GF_API gf_status gf_shared_breakers_share(gf_shared_breakers* shared, gf_breaker* breaker, const char* name,
                                          int64_t timeout_us);

/**
 * Sets a state by hand for all who share the name, or refuses where the server does not answer: it is kept nowhere
 * else. What gf_breaker_force sets is one process's own, and gives way to this.
 *
 * state:      gf_breaker_state: closed (with empty counts), forced open, forced closed or disabled.
 * expires_us: after which it is closed again; 1 s to 7 days; not looked at for closed.
 * by:         who, for others to read; 1 to 100 bytes.
 *
 * Errors: GF_ERR_UNSUPPORTED (another state); GF_ERR_INVALID_ARGUMENT; GF_ERR_INVALID_HANDLE; GF_ERR_SCHEMA_TOO_NEW;
 * GF_ERR_WRONG_STATE; those of a server, as for a queue.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: for Redis, at most command_timeout_us.
 */
GF_API gf_status gf_shared_breakers_force(gf_shared_breakers* shared, const char* name, uint32_t state,
                                          int64_t expires_us, const char* by);

/**
 * Says how a breaker stands for all, as one JSON object: state, generation, left_us, votes, probing, reason, by and the
 * counts of all processes; and under `link` how the server is reached.
 *
 * name: NULL for `link` alone, which asks nobody.
 *
 * Errors: GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT; GF_ERR_SCHEMA_TOO_NEW;
 * GF_ERR_WRONG_STATE; those of a server.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: for Redis, at most command_timeout_us; with NULL never.
 */
GF_API gf_status gf_shared_breakers_json(gf_shared_breakers* shared, const char* name, char* buffer, uint64_t* size);

/**
 * Returns when every change and count that was there before is with the server.
 *
 * Errors: GF_ERR_TIMED_OUT; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: at most timeout_us.
 */
GF_API gf_status gf_shared_breakers_flush(gf_shared_breakers* shared, int64_t timeout_us);

/**
 * Ends the sharing: sends the last counts and gives unused probes back, and the breakers go on alone.
 *
 * shared: may be NULL.
 *
 * Errors: GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the handle is gone.
 * Threads: any; calls that other threads are in end by themselves.
 * Blocks: at most timeout_us, and the moment that a thread takes to end.
 */
GF_API gf_status gf_shared_breakers_close(gf_shared_breakers* shared, int64_t timeout_us);

/* ---- Error store ------------------------------------------------------------------------------------------------ */

/**
 * Errors of many processes in one place, in Redis: groups with counts, times and a sample, and the newest ones one by
 * one. Usable without an engine; `gameforge errors` shows them. An error is copied by the call, and a thread masks
 * secrets, groups and sends: what there is no room for while the server is gone is lost, counted, and told to whoever
 * reads. To gf_error_store_close.
 */
typedef struct gf_error_store gf_error_store;

/** How errors are stored. */
typedef struct gf_error_store_options {
  uint32_t struct_size;        /**< GF_ERROR_STORE_OPTIONS_INIT sets it. */
  uint32_t kept_errors;        /**< Of the newest, one by one, about so many; to 1,000,000. Default 10,000. */
  uint32_t group_limit;        /**< The groups seen least recently go; to 65,536. Default 4096. */
  uint32_t most_waiting;       /**< Errors that wait to be sent; further ones are lost. To 1,000,000. Default 4096. */
  const char* redis_url;       /**< As in gf_queue_options. */
  const char* name_space;      /**< Who gives the same shares the store; no braces. Default "gameforge". */
  const char* process;         /**< Who we are, to 100 bytes. Default: host name and process number. */
  int64_t kept_us;             /**< A group that is not seen for so long goes; 1 min to 90 days. Default 7 days. */
  int64_t command_timeout_us;  /**< Of a turn to the server; 10 ms to 60 s. Default 0.5 s. */
  uint64_t most_waiting_bytes; /**< To 1 GiB. Default 1 MiB. */
} gf_error_store_options;

#define GF_ERROR_STORE_OPTIONS_INIT \
  { sizeof(gf_error_store_options), 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/**
 * Opens an error store. It connects in the background.
 *
 * options: redis_url is needed; what it points to is copied.
 *
 * Errors: GF_ERR_INVALID_ARGUMENT names the option; GF_ERR_UNSUPPORTED; GF_ERR_IO (no thread);
 * GF_ERR_OUT_OF_HOST_MEMORY.
 * Ownership: the store is the caller's, to gf_error_store_close.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_error_store_open(const gf_error_store_options* options, gf_error_store** out_store);

/**
 * Hands an error over.
 *
 * Errors: GF_ERR_QUEUE_FULL: it is lost, and counted; GF_ERR_UNSUPPORTED; GF_ERR_INVALID_HANDLE;
 * GF_ERR_INVALID_ARGUMENT.
 * Ownership: what report points to is copied.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_error_store_record(gf_error_store* store, const gf_error_report* report);

/**
 * Gives the groups with most errors lately, most first, as one JSON object: window_us, errors, other (in groups that
 * are not kept apart), lost, evicted_groups and groups, each with fingerprint, status, name, severity, title,
 * in_window, total, first_us, last_us (since the Unix epoch, by the server's clock) and processes.
 *
 * window_us: 1 s to 8 days; by the minute up to 2 hours, and by the hour beyond.
 * count:     1 to 1000.
 *
 * Errors: GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT; GF_ERR_SCHEMA_TOO_NEW;
 * GF_ERR_WRONG_STATE (the keys are somebody else's); those of a server, as for a queue.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: for Redis, at most command_timeout_us for each group and three more.
 */
GF_API gf_status gf_error_store_top_json(gf_error_store* store, int64_t window_us, uint32_t count, char* buffer,
                                         uint64_t* size);

/**
 * Gives one group as a JSON object: as gf_error_store_top_json does, with by_severity, by_process and its newest error
 * as sample, with message, causes, context and process.
 *
 * fingerprint: as gf_error_store_top_json gives it, 1 to 16 hexadecimal digits.
 *
 * Errors: GF_ERR_NOT_FOUND; as gf_error_store_top_json.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: for Redis, at most twice command_timeout_us.
 */
GF_API gf_status gf_error_store_show_json(gf_error_store* store, const char* fingerprint, char* buffer, uint64_t* size);

/**
 * Gives errors one by one, as a JSON object: errors, each with id and either error or lost, the number that a process
 * could not send; and next.
 *
 * after:      next of the call before; NULL: the newest `count`.
 * count:      1 to 1000.
 * timeout_us: how long to wait where there are none yet; to 1 h.
 *
 * Errors: as gf_error_store_top_json.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: at most timeout_us, and for Redis twice command_timeout_us, or 2 s where it hangs while this waits.
 */
GF_API gf_status gf_error_store_tail_json(gf_error_store* store, const char* after, uint32_t count, int64_t timeout_us,
                                          char* buffer, uint64_t* size);

/**
 * Says what became of the errors that were handed over, as one JSON object: taken, sent, lost, failures.
 *
 * Errors: GF_ERR_BUFFER_TOO_SMALL; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the buffer is the caller's.
 * Threads: any.
 * Blocks: never.
 */
GF_API gf_status gf_error_store_statistics_json(gf_error_store* store, char* buffer, uint64_t* size);

/**
 * Returns when every error that was handed over before is with the server.
 *
 * Errors: GF_ERR_TIMED_OUT; GF_ERR_SCHEMA_TOO_NEW, GF_ERR_WRONG_STATE, GF_ERR_UNAUTHORISED: the server takes none of
 * them; GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: at most timeout_us.
 */
GF_API gf_status gf_error_store_flush(gf_error_store* store, int64_t timeout_us);

/**
 * Sends the rest and closes. What is not sent by then is lost.
 *
 * store: may be NULL.
 *
 * Errors: GF_ERR_INVALID_HANDLE; GF_ERR_INVALID_ARGUMENT.
 * Ownership: the handle is gone.
 * Threads: any; calls that other threads are in end by themselves.
 * Blocks: at most timeout_us, and the moment that a thread takes to end.
 */
GF_API gf_status gf_error_store_close(gf_error_store* store, int64_t timeout_us);

#ifdef __cplusplus
}
#endif

#endif /* GAMEFORGE_GAMEFORGE_H */
