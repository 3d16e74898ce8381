/* backend_abi.h: the seam between libgameforge.so and what computes pixels (libgameforge_torch.so, or a fake in tests).
 *
 * C only: two tables of functions. The host's table gives the backend everything that it may not own itself: log,
 * clock, memory ledger, file reader. The backend's table loads models and turns requests into pixels, one image a run.
 *
 * Rules for both sides:
 *  - every struct begins with struct_size, set by whoever fills it; tables grow at their end;
 *  - status values are those of gf_status; 0 is success; a failing call fills *error (if not NULL) and leaves outputs
 *    NULL;
 *  - text is UTF-8, borrowed for the call; nothing throws across the seam;
 *  - a model may be used by several threads at a time, a run by one at a time;
 *  - `call` is borrowed for the call. A backend asks call->cancelled at least once a tensor while loading, once a layer
 *    group while encoding, before every step, and between decode tiles; when it answers non-zero the call ends with
 *    status 201 (cancelled) and what it had begun is given back. */
#ifndef GAMEFORGE_BACKEND_ABI_H
#define GAMEFORGE_BACKEND_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a table changes in a way that an older partner would misread. Compared before any other symbol is used.
 */
#define GF_BACKEND_ABI_VERSION 4u

/* Name of the exported entry, for dlsym; and of an exported uint32_t with the backend's GF_BACKEND_ABI_VERSION. */
#define GF_BACKEND_ENTRY_SYMBOL "gf_backend_entry"
#define GF_BACKEND_VERSION_SYMBOL "gf_backend_abi_version"

typedef struct gf_backend_error {
  uint32_t struct_size;
  int32_t status;
  char message[2040]; /* UTF-8, ends with NUL, cut if need be. */
} gf_backend_error;

/* What bytes are counted as. */
enum gf_backend_memory_kind {
  GF_BACKEND_MEMORY_WEIGHTS = 0,
  GF_BACKEND_MEMORY_ACTIVATIONS = 1,
  GF_BACKEND_MEMORY_STAGING = 2
};

/* Values of gf_stage in gameforge.h. */
enum gf_backend_stage {
  GF_BACKEND_STAGE_LOADING = 1,
  GF_BACKEND_STAGE_ENCODING = 2,
  GF_BACKEND_STAGE_SAMPLING = 3,
  GF_BACKEND_STAGE_DECODING = 4
};

typedef struct gf_backend_file gf_backend_file;

/* What identifies a file's state; see gf::FileStamp. */
typedef struct gf_backend_file_stamp {
  uint64_t bytes;
  uint64_t inode;
  int64_t modified_ns;
  int64_t changed_ns;
} gf_backend_file_stamp;

/* Given by libgameforge.so. `context` is passed to every function. Threads: any, at the same time. */
typedef struct gf_backend_host {
  uint32_t struct_size;
  uint32_t abi_version;
  void* context;
  /* level: gf_log_level. module: static name. Never blocks on the host's code for long, never fails. */
  void (*log)(void* context, uint32_t level, const char* module, const char* message);
  /* Whether a line of that level would go anywhere: asked before one is formatted. */
  uint32_t (*log_enabled)(void* context, uint32_t level);
  int64_t (*now_us)(void* context);
  /* Ledger. reserve: may I take so many bytes? (206 over budget if not; names the bytes.) commit: I have taken them.
   * release: bytes that were committed are given back; with committed 0, a reservation is given up. */
  int32_t (*reserve)(void* context, uint32_t device, uint32_t kind, uint64_t bytes, gf_backend_error* error);
  void (*commit)(void* context, uint32_t device, uint32_t kind, uint64_t bytes);
  void (*release)(void* context, uint32_t device, uint32_t kind, uint64_t bytes, uint32_t committed);
  /* Files: regular ones only, read by position (pread). check: 401 when the file or its name changed since it was
   * opened. */
  int32_t (*file_open)(void* context, const char* path, gf_backend_file** file, gf_backend_file_stamp* stamp,
                       gf_backend_error* error);
  int32_t (*file_read)(void* context, gf_backend_file* file, uint64_t offset, void* into, uint64_t bytes,
                       gf_backend_error* error);
  int32_t (*file_check)(void* context, gf_backend_file* file, gf_backend_error* error);
  void (*file_close)(void* context, gf_backend_file* file);
  /* Non-zero: what the backend computes with was in the process before it, so others may have bytes from its
   * allocator, which then stays as it is: activations are not charged. */
  uint32_t computes_with_others;
  uint32_t reserved; /* 0. */
} gf_backend_host;

/* What a call does to hold fewer bytes at a time. */
#define GF_BACKEND_THRIFT_PARTS 1u /* Parts of the model are read when their stage begins, and given back with it. */
#define GF_BACKEND_THRIFT_TILES 2u /* Pictures are decoded in tiles that overlap, which changes pixels. */

/* What goes with one call into the backend. */
typedef struct gf_backend_call {
  uint32_t struct_size;
  uint32_t threads; /* Threads that the call may compute on, itself included; at least 1. */
  void* context;    /* Passed to the two functions. */
  /* Non-zero: stop now. Cheap (one relaxed load), so ask often. */
  uint32_t (*cancelled)(void* context);
  /* `done` of `total` units of the stage (bytes while loading, else layers, steps or tiles). May be NULL. */
  void (*progress)(void* context, uint32_t stage, uint64_t done, uint64_t total);
  uint32_t thrift;   /* GF_BACKEND_THRIFT_ bits. */
  uint32_t reserved; /* 0. */
} gf_backend_call;

typedef struct gf_backend gf_backend;                           /* The backend itself. */
typedef struct gf_backend_model gf_backend_model;               /* A loaded model; immutable. */
typedef struct gf_backend_conditioning gf_backend_conditioning; /* Encoded prompts of one request. */
typedef struct gf_backend_run gf_backend_run;                   /* Latents and sampler state of one image. */

typedef struct gf_backend_load_request {
  uint32_t struct_size;
  uint32_t device;  /* 0: CPU. */
  const char* path; /* Absolute path of a diffusers folder. */
} gf_backend_load_request;

typedef struct gf_backend_model_info {
  uint32_t struct_size;
  uint32_t latent_channels;
  uint32_t vae_factor;       /* Pixels a latent cell, each way: sizes must be multiples of it... */
  uint32_t size_multiple_px; /* ...and of this, which the UNet's halvings need. */
  uint32_t default_width_px;
  uint32_t default_height_px;
  uint32_t text_encoders; /* 1 or 2. */
  uint32_t max_tokens;    /* Of a prompt, begin and end included. */
  uint64_t parameters;
  uint64_t weight_bytes; /* Held now, as the ledger counts them. */
  uint64_t file_bytes;
  char family[32];     /* "sdxl". */
  char prediction[32]; /* "epsilon", "v_prediction". */
} gf_backend_model_info;

typedef struct gf_backend_lora {
  const char* path; /* Of the file, absolute. */
  double scale;
} gf_backend_lora;

/* A part of a prompt that has one weight throughout. */
typedef struct gf_backend_prompt_piece {
  const char* text;
  double weight;
  uint32_t starts_chunk; /* Non-zero: what the text encoder reads at once ends before it. */
  uint32_t reserved;     /* 0. */
} gf_backend_prompt_piece;

/* What becomes of a prompt that is longer than the text encoder reads at once. */
#define GF_BACKEND_LONG_PROMPT_CHUNKS 0u /* Read in chunks, which the denoiser sees one behind the other. */
#define GF_BACKEND_LONG_PROMPT_CUT 1u    /* Cut, with a warning. */
#define GF_BACKEND_LONG_PROMPT_REFUSE 2u /* 109 (payload too large). */

typedef struct gf_backend_encode_request {
  uint32_t struct_size;
  uint32_t guidance; /* Non-zero: the negative prompt is needed (CFG scale other than 1). */
  const char* prompt;
  const char* prompt_2;          /* NULL: as prompt. */
  const char* negative_prompt;   /* NULL: none, which is not the same as "" (the model's config decides). */
  const char* negative_prompt_2; /* NULL: as negative_prompt. */
  uint32_t clip_skip;  /* Of the prompt: how many of the text encoders' last layers are left out, as in diffusers. */
  uint32_t from_image; /* Non-zero: runs will begin from a picture, so load what encodes it. */
  /* LoRA files at work in the conditioning and in every run that it is given to; their order means nothing. */
  const gf_backend_lora* loras;
  uint32_t lora_count;
  uint32_t lora_lenient; /* Non-zero: keys that fit nothing are warned about; else they are an error. */
  /* Of prompt, prompt_2, negative_prompt and negative_prompt_2, for those that are set: what they were taken apart to.
     A count of 0: the text as it is. */
  const gf_backend_prompt_piece* pieces[4];
  uint32_t piece_counts[4];
  uint32_t long_prompt; /* GF_BACKEND_LONG_PROMPT_* */
  uint32_t reserved;    /* 0. */
} gf_backend_encode_request;

typedef struct gf_backend_conditioning_info {
  uint32_t struct_size;
  uint32_t prompt_tokens; /* Without begin, end and padding, by the encoder that has most. */
  uint32_t prompt_chunks;
  uint32_t prompt_cut_tokens; /* Of prompt_tokens left out. */
  uint32_t negative_tokens;   /* 0, as the next two, where the negative prompt was not read. */
  uint32_t negative_chunks;
  uint32_t negative_cut_tokens;
} gf_backend_conditioning_info;

typedef struct gf_backend_run_request {
  uint32_t struct_size;
  uint32_t width_px;
  uint32_t height_px;
  uint32_t steps;
  double cfg_scale;
  double guidance_rescale; /* 0: off. */
  uint64_t seed;           /* Of this image: PyTorch's CPU generator. */
  const char* sampler;     /* Canonical name of the table in pipeline/samplers: "euler", "euler_a". */
  const char* schedule;    /* NULL: as the model's scheduler_config says; "normal", "karras", "exponential". */
  /* Standard normal, float32 [channels, height/vae_factor, width/vae_factor], or NULL: drawn from the seed. */
  const float* initial_latents;
  uint64_t initial_latent_count; /* Values. */
  /* SDXL's size conditioning, pixels; 0 in the sizes: width_px and height_px. */
  uint32_t original_width_px;
  uint32_t original_height_px;
  uint32_t target_width_px;
  uint32_t target_height_px;
  uint32_t crop_left_px;
  uint32_t crop_top_px;
  double eta;      /* DDIM's: 0 draws no noise, 1 as much as DDPM. */
  double strength; /* With `image`: the share of the steps that is done, above 0 to 1. */
  /* The picture that the run begins from: RGBA8 of width_px x height_px, tightly packed, its alpha not looked at. NULL:
   * begins from noise, which `initial_latents` then are; with a picture they are the noise that is mixed into it. */
  const uint8_t* image;
  const uint8_t* mask; /* A byte a pixel, 255 where the picture is painted anew, 0 where it stays; or NULL. */
  uint32_t noise;      /* GF_BACKEND_NOISE_ */
  uint32_t wrap;       /* GF_BACKEND_WRAP_ bits: the picture goes on with its opposite side there. */
} gf_backend_run_request;

#define GF_BACKEND_WRAP_X 1u
#define GF_BACKEND_WRAP_Y 2u

#define GF_BACKEND_NOISE_TORCH_CPU 0u /* PyTorch's CPU generator. */
#define GF_BACKEND_NOISE_PHILOX 1u    /* What PyTorch draws on a CUDA device, computed on the CPU. */

typedef struct gf_backend_statistics {
  uint32_t struct_size;
  uint32_t models;       /* Loaded. */
  uint64_t weight_bytes; /* Of all loaded models. */
  uint64_t load_us;      /* Summed over all loads, as the other times. */
  uint64_t encode_us;
  uint64_t step_us;
  uint64_t decode_us;
  uint64_t steps;
} gf_backend_statistics;

/* Given by the backend; valid until destroy. */
struct gf_backend {
  uint32_t struct_size;
  uint32_t abi_version;
  const char* name;    /* "torch". */
  const char* version; /* Of what it computes with: "libtorch 2.15.0". */

  /* Reads the folder and takes the weights into memory. */
  int32_t (*load)(gf_backend* self, const gf_backend_load_request* request, const gf_backend_call* call,
                  gf_backend_model** model, gf_backend_error* error);
  /* Writes at most info->struct_size bytes. Takes no lock. */
  void (*model_info)(const gf_backend_model* model, gf_backend_model_info* info);
  /* The model's conditionings and runs must be gone. */
  void (*unload)(gf_backend_model* model);

  /* Prompts to embeddings; serves any number of runs of this model. */
  int32_t (*encode)(gf_backend_model* model, const gf_backend_encode_request* request, const gf_backend_call* call,
                    gf_backend_conditioning** conditioning, gf_backend_error* error);
  /* What the job's report should say of it: UTF-8, a line each, "" for nothing; lives as long as the conditioning. */
  const char* (*conditioning_warnings)(const gf_backend_conditioning* conditioning);
  /* Writes at most info->struct_size bytes. */
  void (*conditioning_info)(const gf_backend_conditioning* conditioning, gf_backend_conditioning_info* info);
  void (*conditioning_free)(gf_backend_conditioning* conditioning);

  /* Starts one image. The conditioning must outlive the run. */
  int32_t (*start)(gf_backend_model* model, const gf_backend_conditioning* conditioning,
                   const gf_backend_run_request* request, const gf_backend_call* call, gf_backend_run** run,
                   gf_backend_error* error);
  /* Does the next step; *remaining receives how many are left. 104 (wrong state) when none was. */
  int32_t (*step)(gf_backend_run* run, const gf_backend_call* call, uint32_t* remaining, gf_backend_error* error);
  /* Between two calls: gives back the parts of the model that the run does not need for its next step, and with
   * keep_next 0 those too. The latents stay; the next call reads what it needs again. */
  void (*rest)(gf_backend_run* run, uint32_t keep_next);
  /* Decodes to RGBA8, sRGB, top row first, stride 4 * width; `pixels` holds width * height * 4 bytes. */
  int32_t (*decode)(gf_backend_run* run, const gf_backend_call* call, uint8_t* pixels, uint64_t bytes,
                    gf_backend_error* error);
  /* The present latents, float32, still times the VAE's scaling factor; `count` values fit into `values`. */
  int32_t (*latents)(const gf_backend_run* run, float* values, uint64_t count, gf_backend_error* error);
  void (*finish)(gf_backend_run* run); /* At any time; NULL is allowed. */

  /* Writes at most statistics->struct_size bytes. */
  void (*statistics)(gf_backend* self, gf_backend_statistics* statistics);
  /* What is linked, as one JSON object: UTF-8, ends with NUL, lives as long as the backend. "ledger" in it is true
   * where every tensor is charged, and false where only weights are. */
  const char* (*build_json)(gf_backend* self);
  /* Every model is unloaded. */
  void (*destroy)(gf_backend* self);
};

/* The only function that a backend exports. *backend is NULL when it fails; `host` must outlive the backend. */
typedef int32_t (*gf_backend_entry_function)(const gf_backend_host* host, gf_backend** backend,
                                             gf_backend_error* error);

#ifdef __cplusplus
}
#endif

#endif /* GAMEFORGE_BACKEND_ABI_H */
