// What hosts get wrong, at every function of the header: NULL, handles that are none, structs of a wrong size. The
// header itself says which function belongs into which table, so that a new one cannot be forgotten.
#include "support.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

using gf::test::functions_with;

namespace {

/// One of each handle, and what else a call needs to be right but for the argument under test.
struct World {
  World() {
    REQUIRE(gf_engine_open(nullptr, &engine) == GF_OK);
    const std::uint8_t pixel[4] = {1, 2, 3, 255};
    REQUIRE(gf_image_create(1, 1, 4, pixel, &image) == GF_OK);
    REQUIRE(gf_config_load(nullptr, 0, &config) == GF_OK);
    REQUIRE(gf_migrator_open(&migrator_options, &migrator) == GF_OK);
  }
  ~World() {
    gf_migrator_close(migrator, 10'000'000);
    gf_engine_close(engine, 10'000'000);
    gf_image_release(image);
    gf_config_release(config);
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  gf_engine* engine = nullptr;
  gf_image* image = nullptr;
  gf_config* config = nullptr;
  gf_migrator* migrator = nullptr;  // Of no database and no files.
  gf_migrator* out_migrator = nullptr;
  gf_migrator_options migrator_options = GF_MIGRATOR_OPTIONS_INIT;
  gf_migration_goal goal = GF_MIGRATION_GOAL_INIT;
  gf_migrator_info migrator_info = GF_MIGRATOR_INFO_INIT;
  gf_migration_event migration_event = GF_MIGRATION_EVENT_INIT;
  gf_migration_entry entry = GF_MIGRATION_ENTRY_INIT;
  gf_job_id job = {1, 2};
  gf_request request = GF_REQUEST_INIT;
  gf_event event = GF_EVENT_INIT;
  gf_log_record record = GF_LOG_RECORD_INIT;
  gf_job_info info = GF_JOB_INFO_INIT;
  gf_image_info image_info = GF_IMAGE_INFO_INIT;
  gf_engine_options options = GF_ENGINE_OPTIONS_INIT;
  gf_status_description description = GF_STATUS_DESCRIPTION_INIT;
  gf_image* out_image = nullptr;
  const std::uint8_t* out_pixels = nullptr;
  char text[64] = {};
  std::uint8_t bytes[64] = {};
  float floats[64] = {};
  std::uint32_t shape[4] = {1, 1, 1, 1};
  std::uint64_t size = sizeof text;
};

template <class Handle>
using OnHandle = std::map<std::string, std::function<gf_status(World&, Handle*)>>;

// Each function that takes a handle, with everything else as it should be.

const OnHandle<gf_engine> engine_calls = {
    {"gf_engine_close", [](World&, gf_engine* e) { return gf_engine_close(e, 0); }},
    {"gf_engine_poll", [](World& w, gf_engine* e) { return gf_engine_poll(e, &w.event); }},
    {"gf_engine_wait_event", [](World& w, gf_engine* e) { return gf_engine_wait_event(e, 0, &w.event); }},
    {"gf_engine_poll_log", [](World& w, gf_engine* e) { return gf_engine_poll_log(e, &w.record, w.text, &w.size); }},
    {"gf_engine_statistics_json", [](World& w, gf_engine* e) { return gf_engine_statistics_json(e, w.text, &w.size); }},
    {"gf_engine_submit", [](World& w, gf_engine* e) { return gf_engine_submit(e, &w.request, &w.job); }},
    {"gf_model_load_ahead", [](World& w, gf_engine* e) { return gf_model_load_ahead(e, "m", 0, &w.job); }},
    {"gf_model_info_json", [](World& w, gf_engine* e) { return gf_model_info_json(e, "m", w.text, &w.size); }},
    {"gf_model_list_json", [](World& w, gf_engine* e) { return gf_model_list_json(e, w.text, &w.size); }},
    {"gf_model_pin", [](World&, gf_engine* e) { return gf_model_pin(e, "m", 1); }},
    {"gf_model_release", [](World&, gf_engine* e) { return gf_model_release(e, "m"); }},
    {"gf_job_status", [](World& w, gf_engine* e) { return gf_job_status(e, &w.job, &w.info); }},
    {"gf_job_wait", [](World& w, gf_engine* e) { return gf_job_wait(e, &w.job, 0, &w.info); }},
    {"gf_job_cancel", [](World& w, gf_engine* e) { return gf_job_cancel(e, &w.job, 0); }},
    {"gf_job_error_json", [](World& w, gf_engine* e) { return gf_job_error_json(e, &w.job, w.text, &w.size); }},
    {"gf_job_report_json", [](World& w, gf_engine* e) { return gf_job_report_json(e, &w.job, w.text, &w.size); }},
    {"gf_job_latents", [](World& w, gf_engine* e) { return gf_job_latents(e, &w.job, 0, w.floats, &w.size); }},
    {"gf_job_forget", [](World& w, gf_engine* e) { return gf_job_forget(e, &w.job); }},
    {"gf_job_image", [](World& w, gf_engine* e) { return gf_job_image(e, &w.job, 0, &w.out_image); }},
    {"gf_job_parameters_text",
     [](World& w, gf_engine* e) { return gf_job_parameters_text(e, &w.job, 0, w.text, &w.size); }},
};

const OnHandle<gf_image> image_calls = {
    {"gf_image_describe", [](World& w, gf_image* i) { return gf_image_describe(i, &w.image_info); }},
    {"gf_image_pixels", [](World& w, gf_image* i) { return gf_image_pixels(i, &w.out_pixels); }},
    {"gf_image_share", [](World& w, gf_image* i) { return gf_image_share(i, &w.out_image); }},
    {"gf_image_release", [](World&, gf_image* i) { return gf_image_release(i); }},
    {"gf_image_upscale", [](World& w, gf_image* i) { return gf_image_upscale(i, 2, &w.out_image); }},
    {"gf_image_key_background",
     [](World& w, gf_image* i) { return gf_image_key_background(i, nullptr, &w.out_image); }},
    {"gf_image_grid",
     [](World& w, gf_image* i) {
       gf_image* const both[2] = {w.image, i};
       return gf_image_grid(both, 2, 1, 0, 0, &w.out_image);
     }},
    {"gf_image_encode_png", [](World& w, gf_image* i) { return gf_image_encode_png(i, nullptr, w.bytes, &w.size); }},
    {"gf_image_write_png", [](World&, gf_image* i) { return gf_image_write_png(i, nullptr, "/nowhere/x.png"); }},
};

const OnHandle<gf_config> config_calls = {
    {"gf_config_read", [](World& w, gf_config* c) { return gf_config_read(c, &w.options); }},
    {"gf_config_json", [](World& w, gf_config* c) { return gf_config_json(c, w.text, &w.size); }},
    {"gf_config_release", [](World&, gf_config* c) { return gf_config_release(c); }},
};

const OnHandle<gf_migrator> migrator_calls = {
    {"gf_migrator_close", [](World&, gf_migrator* m) { return gf_migrator_close(m, 0); }},
    {"gf_migrator_plan", [](World& w, gf_migrator* m) { return gf_migrator_plan(m, &w.goal); }},
    {"gf_migrator_apply", [](World& w, gf_migrator* m) { return gf_migrator_apply(m, &w.goal); }},
    {"gf_migrator_prove", [](World& w, gf_migrator* m) { return gf_migrator_prove(m, &w.goal, 0); }},
    {"gf_migrator_status", [](World&, gf_migrator* m) { return gf_migrator_status(m); }},
    {"gf_migrator_validate", [](World&, gf_migrator* m) { return gf_migrator_validate(m); }},
    {"gf_migrator_round_trip", [](World&, gf_migrator* m) { return gf_migrator_round_trip(m); }},
    {"gf_migrator_baseline", [](World&, gf_migrator* m) { return gf_migrator_baseline(m, 1); }},
    {"gf_migrator_repair",
     [](World&, gf_migrator* m) { return gf_migrator_repair(m, GF_MIGRATION_ACCEPT_EDIT, 1, nullptr); }},
    {"gf_migrator_dump", [](World&, gf_migrator* m) { return gf_migrator_dump(m); }},
    {"gf_migrator_diff", [](World&, gf_migrator* m) { return gf_migrator_diff(m); }},
    {"gf_migrator_drift", [](World&, gf_migrator* m) { return gf_migrator_drift(m); }},
    {"gf_migrator_cancel", [](World&, gf_migrator* m) { return gf_migrator_cancel(m); }},
    {"gf_migrator_poll",
     [](World& w, gf_migrator* m) { return gf_migrator_poll(m, &w.migration_event, w.text, &w.size); }},
    {"gf_migrator_wait", [](World& w, gf_migrator* m) { return gf_migrator_wait(m, 0, &w.migrator_info); }},
    {"gf_migrator_report_json", [](World& w, gf_migrator* m) { return gf_migrator_report_json(m, w.text, &w.size); }},
    {"gf_migrator_error_json", [](World& w, gf_migrator* m) { return gf_migrator_error_json(m, w.text, &w.size); }},
    {"gf_migrator_entry", [](World& w, gf_migrator* m) { return gf_migrator_entry(m, 0, &w.entry); }},
    {"gf_migrator_entry_text",
     [](World& w, gf_migrator* m) { return gf_migrator_entry_text(m, 0, GF_MIGRATION_TEXT_LABEL, w.text, &w.size); }},
};

/// Functions for which NULL is a handle that does nothing.
const std::set<std::string> null_is_allowed = {"gf_engine_close", "gf_image_release", "gf_config_release",
                                               "gf_migrator_close"};

template <class Handle>
std::set<std::string> names_of(const OnHandle<Handle>& calls) {
  std::set<std::string> names;
  for (const auto& [name, call] : calls) names.insert(name);
  return names;
}

template <class Handle>
void refuse_handles(const OnHandle<Handle>& calls, Handle* stale, std::vector<const void*> foreign) {
  World world;
  int on_stack = 0;
  foreign.push_back(&on_stack);
  foreign.push_back(&world);
  for (std::uintptr_t value = 1; value < 20; ++value) foreign.push_back(reinterpret_cast<const void*>(value));
  foreign.push_back(reinterpret_cast<const void*>(~std::uintptr_t{0}));
  std::mt19937_64 random(7);
  for (int round = 0; round < 200; ++round) foreign.push_back(reinterpret_cast<const void*>(random()));
  foreign.push_back(stale);

  for (const auto& [name, call] : calls) {
    CAPTURE(name);
    const auto null = call(world, nullptr);
    CHECK(null == (null_is_allowed.count(name) != 0 ? GF_OK : GF_ERR_INVALID_HANDLE));
    for (const auto* value : foreign) {
      CAPTURE(value);
      REQUIRE(call(world, static_cast<Handle*>(const_cast<void*>(value))) == GF_ERR_INVALID_HANDLE);
      REQUIRE(gf_last_error_status() == GF_ERR_INVALID_HANDLE);
      REQUIRE(std::strstr(gf_last_error_message(), "released, or never given") != nullptr);
    }
  }
  // All that was refused has changed nothing.
  CHECK(gf_engine_poll(world.engine, &world.event) == GF_ERR_WOULD_BLOCK);
  CHECK(gf_image_describe(world.image, &world.image_info) == GF_OK);
  CHECK(gf_config_read(world.config, &world.options) == GF_OK);
  CHECK(gf_migrator_wait(world.migrator, 0, nullptr) == GF_ERR_WRONG_STATE);  // None of the calls has started it.
}

/// One NULL, or one argument that is out of its range.
struct Refusal {
  const char* function;
  const char* named;  // Words that the message must have.
  std::function<gf_status(World&)> call;
  gf_status expected = GF_ERR_INVALID_ARGUMENT;
};

const std::vector<Refusal> refusals = {
    {"gf_status_table", "out_description is NULL", [](World&) { return gf_status_table(0, nullptr); }},
    {"gf_status_table", "index is 1000", [](World& w) { return gf_status_table(1000, &w.description); },
     GF_ERR_NOT_FOUND},
    {"gf_status_describe", "out_description is NULL", [](World&) { return gf_status_describe(0, nullptr); }},
    {"gf_status_describe", "status is 1", [](World& w) { return gf_status_describe(1, &w.description); },
     GF_ERR_NOT_FOUND},
    {"gf_version_json", "size is NULL", [](World& w) { return gf_version_json(w.text, nullptr); }},
    {"gf_engine_open", "out_engine is NULL", [](World&) { return gf_engine_open(nullptr, nullptr); }},
    {"gf_engine_open", "options->model_folders is NULL",
     [](World& w) {
       w.options.model_folder_count = 1;
       gf_engine* engine = nullptr;
       return gf_engine_open(&w.options, &engine);
     }},
    {"gf_engine_open", "options->model_folders[0] is NULL",
     [](World& w) {
       const char* folder = nullptr;
       w.options.model_folder_count = 1;
       w.options.model_folders = &folder;
       gf_engine* engine = w.engine;
       return gf_engine_open(&w.options, &engine);
     }},
    {"gf_engine_open", "options->log_level is 5",
     [](World& w) {
       w.options.log_level = 5;
       gf_engine* engine = w.engine;
       return gf_engine_open(&w.options, &engine);
     },
     GF_ERR_UNSUPPORTED},
    {"gf_engine_open", "options->allow_model_paths is 2",
     [](World& w) {
       w.options.allow_model_paths = 2;
       gf_engine* engine = w.engine;
       return gf_engine_open(&w.options, &engine);
     }},
    {"gf_engine_open", "executor_count is 17",
     [](World& w) {
       w.options.executor_count = 17;
       gf_engine* engine = w.engine;
       return gf_engine_open(&w.options, &engine);
     }},
    {"gf_engine_close", "timeout_us is -1", [](World& w) { return gf_engine_close(w.engine, -1); }},
    {"gf_engine_poll", "out_event is NULL", [](World& w) { return gf_engine_poll(w.engine, nullptr); }},
    {"gf_engine_wait_event", "out_event is NULL", [](World& w) { return gf_engine_wait_event(w.engine, 0, nullptr); }},
    {"gf_engine_wait_event", "timeout_us is -1", [](World& w) { return gf_engine_wait_event(w.engine, -1, &w.event); }},
    {"gf_engine_poll_log", "out_record is NULL",
     [](World& w) { return gf_engine_poll_log(w.engine, nullptr, w.text, &w.size); }},
    {"gf_engine_poll_log", "size is NULL",
     [](World& w) { return gf_engine_poll_log(w.engine, &w.record, w.text, nullptr); }},
    {"gf_engine_statistics_json", "size is NULL",
     [](World& w) { return gf_engine_statistics_json(w.engine, w.text, nullptr); }},
    {"gf_config_load", "out_config is NULL", [](World&) { return gf_config_load(nullptr, 0, nullptr); }},
    {"gf_config_load", "use_environment is 2",
     [](World&) {
       gf_config* config = nullptr;
       return gf_config_load(nullptr, 2, &config);
     }},
    {"gf_config_read", "options is NULL", [](World& w) { return gf_config_read(w.config, nullptr); }},
    {"gf_config_json", "size is NULL", [](World& w) { return gf_config_json(w.config, w.text, nullptr); }},
    {"gf_model_load_ahead", "model is NULL",
     [](World& w) { return gf_model_load_ahead(w.engine, nullptr, 0, &w.job); }},
    {"gf_model_load_ahead", "out_job is NULL", [](World& w) { return gf_model_load_ahead(w.engine, "m", 0, nullptr); }},
    {"gf_model_info_json", "model is NULL",
     [](World& w) { return gf_model_info_json(w.engine, nullptr, w.text, &w.size); }},
    {"gf_model_info_json", "size is NULL", [](World& w) { return gf_model_info_json(w.engine, "m", w.text, nullptr); }},
    {"gf_model_list_json", "size is NULL", [](World& w) { return gf_model_list_json(w.engine, w.text, nullptr); }},
    {"gf_model_pin", "model is NULL", [](World& w) { return gf_model_pin(w.engine, nullptr, 1); }},
    {"gf_model_pin", "pinned is 2", [](World& w) { return gf_model_pin(w.engine, "m", 2); }},
    {"gf_model_release", "model is NULL", [](World& w) { return gf_model_release(w.engine, nullptr); }},
    {"gf_engine_submit", "request is NULL", [](World& w) { return gf_engine_submit(w.engine, nullptr, &w.job); }},
    {"gf_engine_submit", "out_job is NULL", [](World& w) { return gf_engine_submit(w.engine, &w.request, nullptr); }},
    {"gf_engine_submit", "model", [](World& w) { return gf_engine_submit(w.engine, &w.request, &w.job); }},
    {"gf_engine_submit", "request->flags is 0x8",
     [](World& w) {
       w.request.model = "m";
       w.request.flags = 8;
       return gf_engine_submit(w.engine, &w.request, &w.job);
     },
     GF_ERR_UNSUPPORTED},
    {"gf_job_status", "job is NULL", [](World& w) { return gf_job_status(w.engine, nullptr, &w.info); }},
    {"gf_job_status", "out_info is NULL", [](World& w) { return gf_job_status(w.engine, &w.job, nullptr); }},
    {"gf_job_wait", "job is NULL", [](World& w) { return gf_job_wait(w.engine, nullptr, 0, &w.info); }},
    {"gf_job_cancel", "job is NULL", [](World& w) { return gf_job_cancel(w.engine, nullptr, 0); }},
    {"gf_job_cancel", "mode is 2", [](World& w) { return gf_job_cancel(w.engine, &w.job, 2); }, GF_ERR_UNSUPPORTED},
    {"gf_job_error_json", "job is NULL",
     [](World& w) { return gf_job_error_json(w.engine, nullptr, w.text, &w.size); }},
    {"gf_job_error_json", "size is NULL",
     [](World& w) { return gf_job_error_json(w.engine, &w.job, w.text, nullptr); }},
    {"gf_job_report_json", "job is NULL",
     [](World& w) { return gf_job_report_json(w.engine, nullptr, w.text, &w.size); }},
    {"gf_job_report_json", "size is NULL",
     [](World& w) { return gf_job_report_json(w.engine, &w.job, w.text, nullptr); }},
    {"gf_job_latents", "job is NULL", [](World& w) { return gf_job_latents(w.engine, nullptr, 0, w.floats, &w.size); }},
    {"gf_job_latents", "count is NULL",
     [](World& w) { return gf_job_latents(w.engine, &w.job, 0, w.floats, nullptr); }},
    {"gf_job_forget", "job is NULL", [](World& w) { return gf_job_forget(w.engine, nullptr); }},
    {"gf_job_id_text", "job is NULL", [](World& w) { return gf_job_id_text(nullptr, w.text, &w.size); }},
    {"gf_job_id_text", "size is NULL", [](World& w) { return gf_job_id_text(&w.job, w.text, nullptr); }},
    {"gf_job_id_parse", "text is NULL", [](World& w) { return gf_job_id_parse(nullptr, &w.job); }},
    {"gf_job_id_parse", "out_job is NULL", [](World&) { return gf_job_id_parse("0", nullptr); }},
    {"gf_job_id_parse", "hex", [](World& w) { return gf_job_id_parse("not an id", &w.job); }},
    {"gf_job_image", "job is NULL", [](World& w) { return gf_job_image(w.engine, nullptr, 0, &w.out_image); }},
    {"gf_job_image", "out_image is NULL", [](World& w) { return gf_job_image(w.engine, &w.job, 0, nullptr); }},
    {"gf_job_parameters_text", "job is NULL",
     [](World& w) { return gf_job_parameters_text(w.engine, nullptr, 0, w.text, &w.size); }},
    {"gf_job_parameters_text", "size is NULL",
     [](World& w) { return gf_job_parameters_text(w.engine, &w.job, 0, w.text, nullptr); }},
    {"gf_image_decode_png", "out_image is NULL", [](World& w) { return gf_image_decode_png(w.bytes, 4, nullptr); }},
    {"gf_image_decode_png", "bytes is NULL", [](World& w) { return gf_image_decode_png(nullptr, 4, &w.out_image); }},
    {"gf_image_decode_png", "not a PNG", [](World& w) { return gf_image_decode_png(w.bytes, 4, &w.out_image); },
     GF_ERR_CORRUPT_FILE},
    {"gf_image_read_png", "out_image is NULL", [](World&) { return gf_image_read_png("/nowhere/x.png", nullptr); }},
    {"gf_image_read_png", "path is NULL", [](World& w) { return gf_image_read_png(nullptr, &w.out_image); }},
    {"gf_image_read_png", "/nowhere/x.png", [](World& w) { return gf_image_read_png("/nowhere/x.png", &w.out_image); },
     GF_ERR_NOT_FOUND},
    {"gf_image_create", "out_image is NULL", [](World& w) { return gf_image_create(1, 1, 4, w.bytes, nullptr); }},
    {"gf_image_create", "pixels is NULL", [](World& w) { return gf_image_create(1, 1, 4, nullptr, &w.out_image); }},
    {"gf_image_create", "width_px is 0", [](World& w) { return gf_image_create(0, 1, 4, w.bytes, &w.out_image); }},
    {"gf_image_create", "height_px is 16385",
     [](World& w) { return gf_image_create(1, 16385, 4, w.bytes, &w.out_image); }},
    {"gf_image_create", "stride_bytes is 7", [](World& w) { return gf_image_create(2, 1, 7, w.bytes, &w.out_image); }},
    {"gf_image_describe", "out_info is NULL", [](World& w) { return gf_image_describe(w.image, nullptr); }},
    {"gf_image_pixels", "out_pixels is NULL", [](World& w) { return gf_image_pixels(w.image, nullptr); }},
    {"gf_image_share", "out_image is NULL", [](World& w) { return gf_image_share(w.image, nullptr); }},
    {"gf_image_upscale", "out_image is NULL", [](World& w) { return gf_image_upscale(w.image, 2, nullptr); }},
    {"gf_image_upscale", "factor is 0", [](World& w) { return gf_image_upscale(w.image, 0, &w.out_image); }},
    {"gf_image_upscale", "factor is 65", [](World& w) { return gf_image_upscale(w.image, 65, &w.out_image); }},
    {"gf_image_key_background", "out_image is NULL",
     [](World& w) { return gf_image_key_background(w.image, nullptr, nullptr); }},
    {"gf_image_key_background", "options->green is 256",
     [](World& w) {
       gf_key_options key = GF_KEY_OPTIONS_INIT;
       key.green = 256;
       return gf_image_key_background(w.image, &key, &w.out_image);
     }},
    {"gf_image_key_background", "options->use_border is 2",
     [](World& w) {
       gf_key_options key = GF_KEY_OPTIONS_INIT;
       key.use_border = 2;
       return gf_image_key_background(w.image, &key, &w.out_image);
     }},
    {"gf_image_grid", "images is NULL", [](World& w) { return gf_image_grid(nullptr, 1, 1, 0, 0, &w.out_image); }},
    {"gf_image_grid", "out_image is NULL", [](World& w) { return gf_image_grid(&w.image, 1, 1, 0, 0, nullptr); }},
    {"gf_image_grid", "count is 0", [](World& w) { return gf_image_grid(&w.image, 0, 1, 0, 0, &w.out_image); }},
    {"gf_image_grid", "count is 4097", [](World& w) { return gf_image_grid(&w.image, 4097, 1, 0, 0, &w.out_image); }},
    {"gf_image_grid", "columns is 2", [](World& w) { return gf_image_grid(&w.image, 1, 2, 0, 0, &w.out_image); }},
    {"gf_image_encode_png", "size is NULL",
     [](World& w) { return gf_image_encode_png(w.image, nullptr, w.bytes, nullptr); }},
    {"gf_image_encode_png", "compression is 10",
     [](World& w) {
       gf_png_options png = GF_PNG_OPTIONS_INIT;
       png.compression = 10;
       return gf_image_encode_png(w.image, &png, w.bytes, &w.size);
     }},
    {"gf_image_write_png", "path is NULL", [](World& w) { return gf_image_write_png(w.image, nullptr, nullptr); }},
    {"gf_image_write_png", "/nowhere/",
     [](World& w) { return gf_image_write_png(w.image, nullptr, "/nowhere/at/all.png"); }, GF_ERR_NOT_FOUND},
    {"gf_latents_read", "path is NULL", [](World& w) { return gf_latents_read(nullptr, w.floats, &w.size, w.shape); }},
    {"gf_latents_read", "count is NULL", [](World& w) { return gf_latents_read("/x", w.floats, nullptr, w.shape); }},
    {"gf_latents_read", "shape is NULL", [](World& w) { return gf_latents_read("/x", w.floats, &w.size, nullptr); }},
    {"gf_latents_read", "/nowhere/x",
     [](World& w) { return gf_latents_read("/nowhere/x", w.floats, &w.size, w.shape); }, GF_ERR_NOT_FOUND},
    {"gf_latents_write", "path is NULL", [](World& w) { return gf_latents_write(nullptr, w.floats, w.shape); }},
    {"gf_latents_write", "values is NULL", [](World& w) { return gf_latents_write("/x", nullptr, w.shape); }},
    {"gf_latents_write", "shape is NULL", [](World& w) { return gf_latents_write("/x", w.floats, nullptr); }},
    {"gf_latents_write", "shape is [1, 0, 1, 1]",
     [](World& w) {
       w.shape[1] = 0;
       return gf_latents_write("/x", w.floats, w.shape);
     }},
    {"gf_latents_write", "shape is [4294967295, 4294967295",
     [](World& w) {
       w.shape[0] = w.shape[1] = ~0u;
       return gf_latents_write("/x", w.floats, w.shape);
     }},
    {"gf_doctor_json", "size is NULL", [](World& w) { return gf_doctor_json(nullptr, w.text, nullptr); }},
    {"gf_migrator_open", "out_migrator is NULL",
     [](World& w) { return gf_migrator_open(&w.migrator_options, nullptr); }},
    {"gf_migrator_open", "options is NULL", [](World& w) { return gf_migrator_open(nullptr, &w.out_migrator); }},
    {"gf_migrator_open", "options->flags is 0x10",
     [](World& w) {
       w.migrator_options.flags = 16;
       return gf_migrator_open(&w.migrator_options, &w.out_migrator);
     },
     GF_ERR_UNSUPPORTED},
    {"gf_migrator_open", "options->file_names is NULL",
     [](World& w) {
       w.migrator_options.file_count = 1;
       return gf_migrator_open(&w.migrator_options, &w.out_migrator);
     }},
    {"gf_migrator_open", "options->file_texts[0] is NULL",
     [](World& w) {
       const char* name = "001_a.sql";
       const char* text = nullptr;
       w.migrator_options.file_count = 1;
       w.migrator_options.file_names = &name;
       w.migrator_options.file_texts = &text;
       return gf_migrator_open(&w.migrator_options, &w.out_migrator);
     }},
    {"gf_migrator_open", "options->file_count is not 0",
     [](World& w) {
       w.migrator_options.file_count = 1;
       w.migrator_options.folder = "/nowhere";
       return gf_migrator_open(&w.migrator_options, &w.out_migrator);
     }},
    {"gf_migrator_open", "/nowhere/at/all",
     [](World& w) {
       w.migrator_options.folder = "/nowhere/at/all";
       return gf_migrator_open(&w.migrator_options, &w.out_migrator);
     },
     GF_ERR_NOT_FOUND},
    {"gf_migrator_open", "options->folder is empty",
     [](World& w) {
       w.migrator_options.folder = "";
       return gf_migrator_open(&w.migrator_options, &w.out_migrator);
     }},
    {"gf_migrator_open", "mysql",
     [](World& w) {
       w.migrator_options.url = "mysql://somewhere";
       return gf_migrator_open(&w.migrator_options, &w.out_migrator);
     }},
    {"gf_migrator_open", "options->variable_values is NULL",
     [](World& w) {
       const char* name = "a";
       w.migrator_options.variable_count = 1;
       w.migrator_options.variable_names = &name;
       return gf_migrator_open(&w.migrator_options, &w.out_migrator);
     }},
    {"gf_migrator_open", "which was there before",
     [](World& w) {
       const char* const names[] = {"a", "a"};
       w.migrator_options.variable_count = 2;
       w.migrator_options.variable_names = names;
       w.migrator_options.variable_values = names;
       return gf_migrator_open(&w.migrator_options, &w.out_migrator);
     }},
    {"gf_migrator_open", "options->lock_wait_us is -1",
     [](World& w) {
       w.migrator_options.lock_wait_us = -1;
       return gf_migrator_open(&w.migrator_options, &w.out_migrator);
     }},
    {"gf_migrator_open", "options->lock_retries is 17",
     [](World& w) {
       w.migrator_options.lock_retries = 17;
       return gf_migrator_open(&w.migrator_options, &w.out_migrator);
     }},
    {"gf_migrator_close", "timeout_us is -1", [](World& w) { return gf_migrator_close(w.migrator, -1); }},
    {"gf_migrator_plan", "goal->kind is 5",
     [](World& w) {
       w.goal.kind = 5;
       return gf_migrator_plan(w.migrator, &w.goal);
     },
     GF_ERR_UNSUPPORTED},
    {"gf_migrator_apply", "a rollback names one",
     [](World& w) {
       w.goal.kind = GF_MIGRATION_GOAL_ROLLBACK;
       return gf_migrator_apply(w.migrator, &w.goal);
     }},
    {"gf_migrator_apply", "goal->steps is 0",
     [](World& w) {
       w.goal.kind = GF_MIGRATION_GOAL_ROLLBACK_STEPS;
       return gf_migrator_apply(w.migrator, &w.goal);
     }},
    {"gf_migrator_apply", "goal->steps is 1, which",
     [](World& w) {
       w.goal.steps = 1;
       return gf_migrator_apply(w.migrator, &w.goal);
     }},
    {"gf_migrator_apply", "goal->version is -1",
     [](World& w) {
       w.goal.version = -1;
       return gf_migrator_apply(w.migrator, &w.goal);
     }},
    {"gf_migrator_apply", "goal->cascade is 2",
     [](World& w) {
       w.goal.cascade = 2;
       return gf_migrator_apply(w.migrator, &w.goal);
     }},
    {"gf_migrator_prove", "in_place is 2", [](World& w) { return gf_migrator_prove(w.migrator, nullptr, 2); }},
    {"gf_migrator_baseline", "version is 0", [](World& w) { return gf_migrator_baseline(w.migrator, 0); }},
    {"gf_migrator_repair", "repair is 0", [](World& w) { return gf_migrator_repair(w.migrator, 0, 1, nullptr); },
     GF_ERR_UNSUPPORTED},
    {"gf_migrator_repair", "version is -5",
     [](World& w) { return gf_migrator_repair(w.migrator, GF_MIGRATION_MARK_APPLIED, -5, nullptr); }},
    {"gf_migrator_poll", "out_event is NULL",
     [](World& w) { return gf_migrator_poll(w.migrator, nullptr, w.text, &w.size); }},
    {"gf_migrator_poll", "size is NULL",
     [](World& w) { return gf_migrator_poll(w.migrator, &w.migration_event, w.text, nullptr); }},
    {"gf_migrator_poll", "no event now",
     [](World& w) { return gf_migrator_poll(w.migrator, &w.migration_event, w.text, &w.size); }, GF_ERR_WOULD_BLOCK},
    {"gf_migrator_wait", "timeout_us is -1", [](World& w) { return gf_migrator_wait(w.migrator, -1, nullptr); }},
    {"gf_migrator_wait", "no work was started", [](World& w) { return gf_migrator_wait(w.migrator, 0, nullptr); },
     GF_ERR_WRONG_STATE},
    {"gf_migrator_report_json", "size is NULL",
     [](World& w) { return gf_migrator_report_json(w.migrator, w.text, nullptr); }},
    {"gf_migrator_error_json", "size is NULL",
     [](World& w) { return gf_migrator_error_json(w.migrator, w.text, nullptr); }},
    {"gf_migrator_entry", "out_entry is NULL", [](World& w) { return gf_migrator_entry(w.migrator, 0, nullptr); }},
    {"gf_migrator_entry", "index is 0; there are 0 entries",
     [](World& w) { return gf_migrator_entry(w.migrator, 0, &w.entry); }, GF_ERR_NOT_FOUND},
    {"gf_migrator_entry_text", "size is NULL",
     [](World& w) { return gf_migrator_entry_text(w.migrator, 0, 1, w.text, nullptr); }},
    {"gf_migration_create", "folder is NULL",
     [](World& w) { return gf_migration_create(nullptr, "a", w.text, &w.size); }},
    {"gf_migration_create", "name is NULL",
     [](World& w) { return gf_migration_create("/nowhere", nullptr, w.text, &w.size); }},
    {"gf_migration_create", "size is NULL",
     [](World& w) { return gf_migration_create("/nowhere", "a", w.text, nullptr); }},
    {"gf_migration_create", "/nowhere/at/all",
     [](World& w) { return gf_migration_create("/nowhere/at/all", "a", w.text, &w.size); }, GF_ERR_NOT_FOUND},
};

/// Functions that take a struct: called with its first field set to `size`, all else right.
const std::map<std::string, std::function<gf_status(World&, std::uint32_t)>> sized_calls = {
    {"gf_status_table",
     [](World& w, std::uint32_t size) {
       w.description.struct_size = size;
       return gf_status_table(0, &w.description);
     }},
    {"gf_status_describe",
     [](World& w, std::uint32_t size) {
       w.description.struct_size = size;
       return gf_status_describe(0, &w.description);
     }},
    {"gf_engine_open",
     [](World& w, std::uint32_t size) {
       w.options.struct_size = size;
       gf_engine* engine = nullptr;
       const auto status = gf_engine_open(&w.options, &engine);
       CHECK(engine == nullptr);
       return status;
     }},
    {"gf_doctor_json",
     [](World& w, std::uint32_t size) {
       w.options.struct_size = size;
       return gf_doctor_json(&w.options, w.text, &w.size);
     }},
    {"gf_config_read",
     [](World& w, std::uint32_t size) {
       w.options.struct_size = size;
       return gf_config_read(w.config, &w.options);
     }},
    {"gf_engine_poll",
     [](World& w, std::uint32_t size) {
       w.event.struct_size = size;
       return gf_engine_poll(w.engine, &w.event);
     }},
    {"gf_engine_wait_event",
     [](World& w, std::uint32_t size) {
       w.event.struct_size = size;
       return gf_engine_wait_event(w.engine, 0, &w.event);
     }},
    {"gf_engine_poll_log",
     [](World& w, std::uint32_t size) {
       w.record.struct_size = size;
       return gf_engine_poll_log(w.engine, &w.record, w.text, &w.size);
     }},
    {"gf_engine_submit",
     [](World& w, std::uint32_t size) {
       w.request.struct_size = size;
       return gf_engine_submit(w.engine, &w.request, &w.job);
     }},
    {"gf_job_status",
     [](World& w, std::uint32_t size) {
       w.info.struct_size = size;
       return gf_job_status(w.engine, &w.job, &w.info);
     }},
    {"gf_job_wait",
     [](World& w, std::uint32_t size) {
       w.info.struct_size = size;
       return gf_job_wait(w.engine, &w.job, 0, &w.info);
     }},
    {"gf_image_describe",
     [](World& w, std::uint32_t size) {
       w.image_info.struct_size = size;
       return gf_image_describe(w.image, &w.image_info);
     }},
    {"gf_image_key_background",
     [](World& w, std::uint32_t size) {
       gf_key_options key = GF_KEY_OPTIONS_INIT;
       key.struct_size = size;
       return gf_image_key_background(w.image, &key, &w.out_image);
     }},
    {"gf_image_encode_png",
     [](World& w, std::uint32_t size) {
       gf_png_options png = GF_PNG_OPTIONS_INIT;
       png.struct_size = size;
       return gf_image_encode_png(w.image, &png, w.bytes, &w.size);
     }},
    {"gf_image_write_png",
     [](World& w, std::uint32_t size) {
       gf_png_options png = GF_PNG_OPTIONS_INIT;
       png.struct_size = size;
       return gf_image_write_png(w.image, &png, "/nowhere/at/all.png");
     }},
    {"gf_migrator_open",
     [](World& w, std::uint32_t size) {
       w.migrator_options.struct_size = size;
       return gf_migrator_open(&w.migrator_options, &w.out_migrator);
     }},
    {"gf_migrator_plan",
     [](World& w, std::uint32_t size) {
       w.goal.struct_size = size;
       return gf_migrator_plan(w.migrator, &w.goal);
     }},
    {"gf_migrator_apply",
     [](World& w, std::uint32_t size) {
       w.goal.struct_size = size;
       return gf_migrator_apply(w.migrator, &w.goal);
     }},
    {"gf_migrator_prove",
     [](World& w, std::uint32_t size) {
       w.goal.struct_size = size;
       return gf_migrator_prove(w.migrator, &w.goal, 0);
     }},
    {"gf_migrator_poll",
     [](World& w, std::uint32_t size) {
       w.migration_event.struct_size = size;
       return gf_migrator_poll(w.migrator, &w.migration_event, w.text, &w.size);
     }},
    {"gf_migrator_wait",
     [](World& w, std::uint32_t size) {
       w.migrator_info.struct_size = size;
       return gf_migrator_wait(w.migrator, 0, &w.migrator_info);
     }},
    {"gf_migrator_entry",
     [](World& w, std::uint32_t size) {
       w.entry.struct_size = size;
       return gf_migrator_entry(w.migrator, 0, &w.entry);
     }},
};

/// Plain reads that cannot fail.
const std::set<std::string> cannot_fail = {"gf_status_name", "gf_last_error_status", "gf_last_error_message",
                                           "gf_version", "gf_version_text"};

}  // namespace

TEST_CASE("handles that are NULL, stale, foreign, random or addresses are refused by every function that takes one") {
  // The header says which functions these are.
  CHECK(names_of(engine_calls) == functions_with("gf_engine* engine"));
  auto with_image = functions_with("gf_image* image");
  with_image.merge(functions_with("gf_image* const* images"));
  CHECK(names_of(image_calls) == with_image);
  CHECK(names_of(config_calls) == functions_with("gf_config* config"));
  CHECK(names_of(migrator_calls) == functions_with("gf_migrator* migrator"));

  gf_engine* engine = nullptr;
  REQUIRE(gf_engine_open(nullptr, &engine) == GF_OK);
  REQUIRE(gf_engine_close(engine, 10'000'000) == GF_OK);
  const std::uint8_t pixel[4] = {};
  gf_image* image = nullptr;
  REQUIRE(gf_image_create(1, 1, 4, pixel, &image) == GF_OK);
  REQUIRE(gf_image_release(image) == GF_OK);
  gf_config* config = nullptr;
  REQUIRE(gf_config_load(nullptr, 0, &config) == GF_OK);
  REQUIRE(gf_config_release(config) == GF_OK);

  World living;
  gf_migrator* migrator = nullptr;
  REQUIRE(gf_migrator_open(&living.migrator_options, &migrator) == GF_OK);
  REQUIRE(gf_migrator_close(migrator, 0) == GF_OK);
  refuse_handles(engine_calls, engine, {living.image, living.config, living.migrator, image, config, migrator});
  refuse_handles(image_calls, image, {living.engine, living.config, living.migrator, engine, config, migrator});
  refuse_handles(config_calls, config, {living.engine, living.image, living.migrator, engine, image, migrator});
  refuse_handles(migrator_calls, migrator, {living.engine, living.image, living.config, engine, image, config});
}

TEST_CASE("every NULL and every value out of its range is refused by name") {
  std::set<std::string> covered = cannot_fail;
  covered.insert("gf_last_error_json");  // Its refusals must not become the last error: tested with it.
  for (const auto& refusal : refusals) {
    CAPTURE(refusal.function);
    CAPTURE(refusal.named);
    World world;
    gf_status_name(0);
    CHECK(refusal.call(world) == refusal.expected);
    CHECK(gf_last_error_status() == refusal.expected);
    const std::string message = gf_last_error_message();
    CAPTURE(message);
    CHECK(message.find(refusal.named) != std::string::npos);
    CHECK(world.out_image == nullptr);
    CHECK(world.out_migrator == nullptr);
    covered.insert(refusal.function);
  }
  // They have nothing but a handle.
  covered.merge(std::set<std::string>{"gf_image_release", "gf_config_release", "gf_migrator_status",
                                      "gf_migrator_validate", "gf_migrator_round_trip", "gf_migrator_dump",
                                      "gf_migrator_diff", "gf_migrator_drift", "gf_migrator_cancel"});
  std::set<std::string> declared;
  for (const auto& function : gf::test::declared_functions()) declared.insert(function.name);
  CHECK(declared.size() > 40);
  CHECK(covered == declared);
}

TEST_CASE("a wrong struct_size is refused by every function that takes a struct") {
  std::set<std::string> with_struct;
  for (const char* type :
       {"gf_status_description*", "gf_engine_options*", "gf_event*", "gf_log_record*", "gf_request*", "gf_job_info*",
        "gf_image_info*", "gf_key_options*", "gf_png_options*", "gf_migrator_options*", "gf_migration_goal*",
        "gf_migrator_info*", "gf_migration_event*", "gf_migration_entry*"}) {
    with_struct.merge(functions_with(type));
  }
  std::set<std::string> called;
  for (const auto& [name, call] : sized_calls) {
    CAPTURE(name);
    called.insert(name);
    for (const std::uint32_t size : {0u, 1u, 4u, 15u, 4097u, 0x7FFFFFFFu, 0xFFFFFFFFu}) {
      CAPTURE(size);
      World world;
      CHECK(call(world, size) == GF_ERR_INVALID_ARGUMENT);
      const std::string message = gf_last_error_message();
      CHECK(message.find("struct_size is " + std::to_string(size)) != std::string::npos);
    }
  }
  CHECK(called == with_struct);
}

TEST_CASE("released twice and used after close is told, and the living are not touched") {
  World world;
  gf_image* shared = nullptr;
  REQUIRE(gf_image_share(world.image, &shared) == GF_OK);
  CHECK(shared != world.image);
  CHECK(gf_image_release(shared) == GF_OK);
  CHECK(gf_image_release(shared) == GF_ERR_INVALID_HANDLE);
  CHECK(gf_image_describe(world.image, &world.image_info) == GF_OK);

  gf_engine* engine = nullptr;
  REQUIRE(gf_engine_open(nullptr, &engine) == GF_OK);
  CHECK(gf_engine_close(engine, 10'000'000) == GF_OK);
  CHECK(gf_engine_close(engine, 0) == GF_ERR_INVALID_HANDLE);
  CHECK(gf_engine_submit(engine, &world.request, &world.job) == GF_ERR_INVALID_HANDLE);
}

TEST_CASE("a failing call empties its results") {
  World world;
  auto* image = world.image;
  CHECK(gf_image_share(nullptr, &image) == GF_ERR_INVALID_HANDLE);
  CHECK(image == nullptr);
  auto* engine = world.engine;
  world.options.executor_count = 99;
  CHECK(gf_engine_open(&world.options, &engine) == GF_ERR_INVALID_ARGUMENT);
  CHECK(engine == nullptr);
  gf_job_id job = {3, 4};
  CHECK(gf_engine_submit(nullptr, &world.request, &job) == GF_ERR_INVALID_HANDLE);
  CHECK(job.high == 0);
  CHECK(job.low == 0);
}
