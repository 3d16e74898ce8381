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
  uint64_t dropped;     /**< Lines lost before this one, because nobody had polled. */
} gf_log_record;

#define GF_LOG_RECORD_INIT \
  { sizeof(gf_log_record), 0, 0, 0 }

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
  GF_EVENT_ACCEPTED = 1, /**< The job is in the queue, and will end in one of the terminal events. */
  GF_EVENT_REJECTED = 2, /**< Terminal: it never began; status says why. */
  GF_EVENT_STARTED = 3,  /**< An executor has taken it. */
  GF_EVENT_PROGRESS = 4, /**< stage, step and total moved. Only the newest of each job is kept. */
  GF_EVENT_IMAGE = 5,    /**< The image number `image` is ready to be taken. Only the newest of each job is kept. */
  GF_EVENT_DONE = 6,     /**< Terminal: every image is ready. */
  GF_EVENT_FAILED = 7,   /**< Terminal: status, and gf_job_error_json. */
  GF_EVENT_CANCELLED = 8 /**< Terminal; images that were finished before can still be taken. */
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
} gf_engine_options;

/* Every field in the order above; positional, because C++ before C++20 has no other form. */
#define GF_ENGINE_OPTIONS_INIT \
  { sizeof(gf_engine_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

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
 * Takes the next log line: module, a tab, message.
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
 * A model is named by its folder's name in one of the engine's model folders, or by an absolute path where the options
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
  GF_REQUEST_LENIENT_LORA = 4  /**< Keys of a LoRA that fit nothing are warned about in the job's report; else the job
                                    fails with their names. */
} gf_request_flag;

/** An image. From gf_job_image and the functions below, to gf_image_release. */
typedef struct gf_image gf_image;

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
  uint32_t reserved;    /**< 0. */
} gf_request;

#define GF_REQUEST_INIT                                                                                              \
  {                                                                                                                  \
    sizeof(gf_request), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
        0, 0, 0                                                                                                      \
  }

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
} gf_png_options;

#define GF_PNG_OPTIONS_INIT \
  { sizeof(gf_png_options), 0, 0 }

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
  int64_t lock_wait_us;               /**< How long another runner is waited for while nothing moves. Default 60 s. */
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
 * Starts to check the files: names, order, syntax, what locks or cannot be undone; and with a URL against the database:
 * edits, missing files, drift. What is wrong is counted in gf_migrator_info and told in the report.
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

#ifdef __cplusplus
}
#endif

#endif /* GAMEFORGE_GAMEFORGE_H */
