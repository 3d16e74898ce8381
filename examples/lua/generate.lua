-- A LuaJIT host of GameForge, on the C ABI alone: submits a request, polls events between frames, writes a PNG, and
-- cancels a second job.
--
--   luajit generate.lua [prompt] [out.png] [model]
--
-- GAMEFORGE_LIBRARY names libgameforge.so; else the system looks for it. GAMEFORGE_MODELS is the folder with the models.
-- The library itself reads no environment: this host does. GAMEFORGE_BACKEND_PATH may name another backend.
local ffi = require("ffi")

-- What is used here, as gameforge.h has it.
ffi.cdef [[
typedef struct gf_engine gf_engine;
typedef struct gf_image gf_image;
typedef struct gf_job_id { uint64_t high; uint64_t low; } gf_job_id;

typedef struct gf_event {
  uint32_t struct_size, type;
  gf_job_id job;
  uint64_t host_tag;
  uint32_t stage, step, total, image, status, reserved;
  int64_t retry_after_us, at_us;
} gf_event;

typedef struct gf_engine_options {
  uint32_t struct_size, executor_count, thread_count, queue_limit, retained_job_count, log_level, allow_model_paths,
      model_folder_count;
  const char* const* model_folders;
  const char* backend_path;
  void* event_callback; void* event_user_data;
  void* log_callback; void* log_user_data;
} gf_engine_options;

typedef struct gf_request {
  uint32_t struct_size, flags, width_px, height_px, steps, image_count;
  double cfg_scale, guidance_rescale;
  uint64_t seed, host_tag;
  const char* model;
  const char* prompt; const char* prompt_2;
  const char* negative_prompt; const char* negative_prompt_2;
  const char* sampler; const char* schedule;
  const float* initial_latents;
  uint64_t initial_latent_count;
  uint32_t original_width_px, original_height_px, target_width_px, target_height_px, crop_left_px, crop_top_px;
} gf_request;

typedef struct gf_png_options { uint32_t struct_size, compression; const char* parameters; } gf_png_options;

const char* gf_version_text(void);
const char* gf_status_name(uint32_t status);
const char* gf_last_error_message(void);
uint32_t gf_engine_open(const gf_engine_options* options, gf_engine** out_engine);
uint32_t gf_engine_close(gf_engine* engine, int64_t timeout_us);
uint32_t gf_engine_submit(gf_engine* engine, const gf_request* request, gf_job_id* out_job);
uint32_t gf_engine_poll(gf_engine* engine, gf_event* out_event);
uint32_t gf_job_cancel(gf_engine* engine, const gf_job_id* job, uint32_t mode);
uint32_t gf_job_error_json(gf_engine* engine, const gf_job_id* job, char* buffer, uint64_t* size);
uint32_t gf_job_parameters_text(gf_engine* engine, const gf_job_id* job, uint32_t index, char* buffer, uint64_t* size);
uint32_t gf_job_image(gf_engine* engine, const gf_job_id* job, uint32_t index, gf_image** out_image);
uint32_t gf_image_upscale(gf_image* image, uint32_t factor, gf_image** out_image);
uint32_t gf_image_write_png(gf_image* image, const gf_png_options* options, const char* path);
uint32_t gf_image_release(gf_image* image);

int poll(void* fds, unsigned long count, int timeout_ms);
]]

local OK, WOULD_BLOCK, CANCELLED = 0, 203, 201
local EVENT = { [1] = "accepted", [2] = "rejected", [3] = "started", [4] = "progress", [5] = "image", [6] = "done",
                [7] = "failed", [8] = "cancelled" }
local STAGE = { [0] = "queued", "loading", "encoding", "sampling", "decoding", "storing" }
local TERMINAL = { rejected = true, done = true, failed = true, cancelled = true }

local prompt = arg[1] or "a red potion"
local out = arg[2] or "potion.png"
local model = arg[3] or "gameforge-tiles"
local library = ffi.load(os.getenv("GAMEFORGE_LIBRARY") or "gameforge")

local function check(status)
  if status ~= OK then
    error(ffi.string(library.gf_status_name(status)) .. ": " .. ffi.string(library.gf_last_error_message()), 2)
  end
end

-- The text of a function that takes (buffer, size) last.
local function text_of(read)
  local size = ffi.new("uint64_t[1]")
  check(read(nil, size))
  local buffer = ffi.new("char[?]", tonumber(size[0]))
  check(read(buffer, size))
  return ffi.string(buffer)
end

-- LuaJIT does not keep what a C pointer in a struct points to: these locals do, for the length of the call.
local models = os.getenv("GAMEFORGE_MODELS") or "models"
local folders = ffi.new("const char*[1]", { models })
local backend = os.getenv("GAMEFORGE_BACKEND_PATH")
local options = ffi.new("gf_engine_options")
options.struct_size = ffi.sizeof(options)
options.model_folder_count = 1
options.model_folders = folders
options.backend_path = backend
local opened = ffi.new("gf_engine*[1]")
check(library.gf_engine_open(options, opened))
local engine = opened[0]

local function submit(text, seed, steps)
  local request = ffi.new("gf_request")
  request.struct_size = ffi.sizeof(request)
  request.model = model
  request.prompt = text
  request.seed = seed
  request.steps = steps
  local job = ffi.new("gf_job_id")
  check(library.gf_engine_submit(engine, request, job))
  return job
end

-- Polls until the job is over, as a game does once a frame; on_event may act on what comes in between.
local function follow(job, on_event)
  local event = ffi.new("gf_event")
  event.struct_size = ffi.sizeof(event)
  local polls = 0
  while true do
    local status = library.gf_engine_poll(engine, event)
    if status == WOULD_BLOCK then
      polls = polls + 1
      ffi.C.poll(nil, 0, 4)  -- The rest of the frame.
    else
      check(status)
      local name = EVENT[event.type]
      if event.job.high == job.high and event.job.low == job.low then
        if on_event then on_event(name, event) end
        if TERMINAL[name] then return name, event.status, polls end
      end
    end
  end
end

local function generate()
  print("GameForge " .. ffi.string(library.gf_version_text()))
  local job = submit(prompt, 1, 0)
  local ended, status = follow(job, function(name, event)
    if name == "progress" then
      print(string.format("%s %s %d/%d", name, STAGE[event.stage], event.step, event.total))
    else
      print(name)
    end
  end)
  if ended ~= "done" then
    error(ended .. ": " .. text_of(function(buffer, size)
      return library.gf_job_error_json(engine, job, buffer, size)
    end))
  end
  assert(status == OK)

  local taken = ffi.new("gf_image*[1]")
  check(library.gf_job_image(engine, job, 0, taken))
  -- The collector releases images too; a handle that it meets after the engine's end is still good.
  local image = ffi.gc(taken[0], library.gf_image_release)
  local larger = ffi.new("gf_image*[1]")
  check(library.gf_image_upscale(image, 8, larger))
  local picture = ffi.gc(larger[0], library.gf_image_release)
  local parameters = text_of(function(buffer, size)
    return library.gf_job_parameters_text(engine, job, 0, buffer, size)
  end)
  local png = ffi.new("gf_png_options")
  png.struct_size = ffi.sizeof(png)
  png.parameters = parameters
  check(library.gf_image_write_png(picture, png, out))
  print("wrote " .. out)

  -- A job that nobody wants any more: it ends as cancelled, long before its thousand steps.
  local unwanted = submit(prompt, 2, 1000)
  local last_step = 0
  local asked = false
  local how, why = follow(unwanted, function(name, event)
    if name == "progress" and event.stage == 3 then last_step = event.step end
    if not asked then
      asked = true
      check(library.gf_job_cancel(engine, unwanted, 0))
    end
  end)
  assert(how == "cancelled" and why == CANCELLED, "the second job ended as " .. how)
  print(string.format("cancelled the second job at step %d of 1000", last_step))
end

local fine, message = pcall(generate)
library.gf_engine_close(engine, 5000000)
if not fine then
  io.stderr:write(tostring(message), "\n")
  os.exit(1)
end
