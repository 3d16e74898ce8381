/* What scripts/abi-freeze compiles beside a description: a host that uses every part of the C ABI, and goes on to run,
 * as it was compiled then, against every later library. So it must rely on nothing that the header does not promise.
 *
 * Usage: host MODEL-FOLDER MODEL BACKEND SCRATCH-FOLDER; BACKEND is a shared object, or "-" for the library's own. */
#include <gameforge/gameforge.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

static void check(int holds, const char* what, int line) {
  if (holds) return;
  ++failures;
  printf("host.c:%d: %s does not hold; last error: %s\n", line, what, gf_last_error_message());
}
#define CHECK(condition) check((condition) ? 1 : 0, #condition, __LINE__)

/* Asks for a text's size, then for the text. */
#define READ_TEXT(text, call_of_buffer_and_size)                \
  do {                                                          \
    char* buffer = NULL;                                        \
    uint64_t text_size = 0;                                     \
    uint64_t* const size_out = &text_size;                      \
    CHECK((call_of_buffer_and_size) == GF_OK && text_size > 0); \
    buffer = (char*)malloc((size_t)text_size + 1);              \
    (text) = buffer;                                            \
    if (buffer == NULL) exit(3);                                \
    buffer[0] = 0;                                              \
    CHECK((call_of_buffer_and_size) == GF_OK);                  \
    CHECK(strlen(buffer) + 1 == text_size);                     \
    (void)size_out;                                             \
  } while (0)

static void statuses_and_versions(void) {
  gf_status_description row = GF_STATUS_DESCRIPTION_INIT;
  uint32_t count = 0;
  uint32_t last = 0;
  char* text = NULL;
  while (gf_status_table(count, &row) == GF_OK) {
    CHECK(count == 0 || row.status > last);
    CHECK(strcmp(gf_status_name(row.status), row.name) == 0 && row.hint[0] != 0);
    last = row.status;
    ++count;
  }
  CHECK(count >= 40);
  CHECK(gf_status_describe(GF_ERR_QUEUE_FULL, &row) == GF_OK && row.retryable == 1 &&
        strcmp(row.name, "queue_full") == 0);
  CHECK(row.severity == GF_SEVERITY_WARNING);
  CHECK(gf_status_describe(99999, &row) == GF_ERR_NOT_FOUND);
  CHECK(gf_last_error_status() == GF_ERR_NOT_FOUND && gf_last_error_message()[0] != 0);
  READ_TEXT(text, gf_last_error_json(buffer, size_out));
  CHECK(strstr(text, "not_found") != NULL);
  free(text);
  CHECK(gf_version() >= 100 && gf_version_text()[0] != 0);
  READ_TEXT(text, gf_version_json(buffer, size_out));
  CHECK(text[0] == '{');
  free(text);
}

static void ids(void) {
  gf_job_id id = {0, 0};
  char text[33];
  uint64_t size = sizeof text;
  CHECK(gf_job_id_parse("017F22E2-79B0-7CC3-98C4-DC0C0C07398F", &id) == GF_OK);
  CHECK(id.high == 0x017F22E279B07CC3u && id.low == 0x98C4DC0C0C07398Fu);
  CHECK(gf_job_id_text(&id, text, &size) == GF_OK && strcmp(text, "017f22e279b07cc398c4dc0c0c07398f") == 0);
  size = 5;
  CHECK(gf_job_id_text(&id, text, &size) == GF_ERR_BUFFER_TOO_SMALL && size == 33);
  CHECK(gf_job_id_parse("nonsense", &id) == GF_ERR_INVALID_ARGUMENT);
}

static void images(const char* folder) {
  static uint8_t pixels[4 * 4 * 3];
  gf_image *image = NULL, *shared = NULL, *large = NULL, *keyed = NULL, *grid = NULL;
  gf_image* cells[2];
  gf_image_info info = GF_IMAGE_INFO_INIT;
  gf_key_options key = GF_KEY_OPTIONS_INIT;
  gf_png_options png = GF_PNG_OPTIONS_INIT;
  const uint8_t* at = NULL;
  uint8_t* bytes = NULL;
  uint64_t size = 0;
  char path[4096];
  int i;
  for (i = 0; i < 12; ++i) {
    pixels[4 * i + 1] = 200;
    pixels[4 * i + 3] = 255;
  }
  pixels[4 * 5] = 250; /* One pixel inside that is no background. */
  CHECK(gf_image_create(4, 3, 16, pixels, &image) == GF_OK);
  CHECK(gf_image_describe(image, &info) == GF_OK && info.width_px == 4 && info.height_px == 3 &&
        info.stride_bytes == 16 && info.byte_count == 48);
  CHECK(gf_image_pixels(image, &at) == GF_OK && memcmp(at, pixels, sizeof pixels) == 0);
  CHECK(gf_image_share(image, &shared) == GF_OK && gf_image_release(image) == GF_OK);
  CHECK(gf_image_release(image) == GF_ERR_INVALID_HANDLE);
  CHECK(gf_image_pixels(shared, &at) == GF_OK && at[1] == 200);
  CHECK(gf_image_upscale(shared, 3, &large) == GF_OK && gf_image_describe(large, &info) == GF_OK &&
        info.width_px == 12);
  key.use_border = 1;
  key.tolerance = 4;
  CHECK(gf_image_key_background(shared, &key, &keyed) == GF_OK && gf_image_pixels(keyed, &at) == GF_OK);
  CHECK(at != NULL && at[3] == 0 && at[4 * 5 + 3] == 255);
  cells[0] = shared;
  cells[1] = keyed;
  CHECK(gf_image_grid(cells, 2, 2, 1, 0x102030FFu, &grid) == GF_OK && gf_image_describe(grid, &info) == GF_OK);
  CHECK(info.width_px == 11 && info.height_px == 5);
  png.compression = 9;
  png.parameters = "a recipe";
  CHECK(gf_image_encode_png(shared, &png, NULL, &size) == GF_OK && size > 60);
  bytes = (uint8_t*)malloc((size_t)size);
  if (bytes == NULL) exit(3);
  CHECK(gf_image_encode_png(shared, &png, bytes, &size) == GF_OK && memcmp(bytes, "\x89PNG\r\n\x1A\n", 8) == 0);
  free(bytes);
  snprintf(path, sizeof path, "%s/picture.png", folder);
  CHECK(gf_image_write_png(large, NULL, path) == GF_OK);
  snprintf(path, sizeof path, "%s/nowhere/picture.png", folder);
  CHECK(gf_image_write_png(large, NULL, path) == GF_ERR_NOT_FOUND);
  CHECK(gf_image_release(NULL) == GF_OK && gf_image_release(shared) == GF_OK && gf_image_release(large) == GF_OK);
  CHECK(gf_image_release(keyed) == GF_OK && gf_image_release(grid) == GF_OK);
}

static void latents(const char* folder) {
  const float values[4] = {1.0f, -2.0f, 0.5f, 3.25f};
  const uint32_t shape[4] = {1, 1, 2, 2};
  uint32_t got_shape[4] = {0, 0, 0, 0};
  float got[4] = {0, 0, 0, 0};
  uint64_t count = 0;
  char path[4096];
  snprintf(path, sizeof path, "%s/latents.safetensors", folder);
  CHECK(gf_latents_write(path, values, shape) == GF_OK);
  CHECK(gf_latents_read(path, NULL, &count, got_shape) == GF_OK && count == 4);
  CHECK(gf_latents_read(path, got, &count, got_shape) == GF_OK);
  CHECK(memcmp(got, values, sizeof values) == 0 && memcmp(got_shape, shape, sizeof shape) == 0);
}

static void configuration(const char* folder) {
  gf_config* config = NULL;
  gf_engine_options options = GF_ENGINE_OPTIONS_INIT;
  char path[4096];
  char* text = NULL;
  FILE* file;
  snprintf(path, sizeof path, "%s/gameforge.toml", folder);
  file = fopen(path, "w");
  if (file == NULL) exit(3);
  fputs("queue_limit = 7\nmodel_folders = [\"/one\", \"/two\"]\n", file);
  fclose(file);
  CHECK(gf_config_load(path, 0, &config) == GF_OK);
  CHECK(gf_config_read(config, &options) == GF_OK && options.queue_limit == 7 && options.model_folder_count == 2);
  CHECK(options.model_folder_count == 2 && strcmp(options.model_folders[1], "/two") == 0);
  READ_TEXT(text, gf_config_json(config, buffer, size_out));
  CHECK(strstr(text, "queue_limit") != NULL);
  free(text);
  CHECK(gf_config_release(config) == GF_OK && gf_config_release(config) == GF_ERR_INVALID_HANDLE);
}

/* One job to its end, by waiting for it and by its events. */
static void generation(const char* models, const char* model, const char* backend) {
  gf_engine_options options = GF_ENGINE_OPTIONS_INIT;
  gf_request request = GF_REQUEST_INIT;
  gf_engine* engine = NULL;
  gf_job_id job, other;
  gf_job_info info = GF_JOB_INFO_INIT;
  gf_event event = GF_EVENT_INIT;
  gf_image* image = NULL;
  gf_image* early = NULL;
  gf_image_info image_info = GF_IMAGE_INFO_INIT;
  gf_log_record record = GF_LOG_RECORD_INIT;
  char line[4096];
  uint64_t size = sizeof line;
  uint64_t count = 0;
  char* text = NULL;
  int accepted = 0, started = 0, done = 0;
  options.model_folders = &models;
  options.model_folder_count = 1;
  options.thread_count = 1;
  options.log_level = GF_LOG_DEBUG;
  if (strcmp(backend, "-") != 0) options.backend_path = backend;
  CHECK(gf_engine_open(&options, &engine) == GF_OK);
  if (engine == NULL) return;

  READ_TEXT(text, gf_model_list_json(engine, buffer, size_out));
  CHECK(strstr(text, model) != NULL);
  free(text);
  READ_TEXT(text, gf_model_info_json(engine, model, buffer, size_out));
  CHECK(strstr(text, "sdxl") != NULL);
  free(text);
  CHECK(gf_model_load_ahead(engine, model, 5, &other) == GF_OK);
  CHECK(gf_job_wait(engine, &other, 300000000, &info) == GF_OK && info.status == GF_OK && info.host_tag == 5);
  CHECK(gf_model_pin(engine, model, 1) == GF_OK);

  request.model = model;
  request.prompt = "a red potion";
  request.negative_prompt = "blurry";
  request.sampler = "Euler a";
  request.steps = 2;
  request.image_count = 2;
  request.cfg_scale = 3.5;
  request.seed = 11;
  request.host_tag = 77;
  request.flags = GF_REQUEST_KEEP_LATENTS;
  CHECK(gf_engine_submit(engine, &request, &job) == GF_OK);
  CHECK(gf_job_wait(engine, &job, 300000000, &info) == GF_OK);
  CHECK(info.state == GF_JOB_DONE && info.status == GF_OK && info.image_count == 2 && info.images_ready == 2 &&
        info.seed == 11);
  CHECK(gf_job_status(engine, &job, &info) == GF_OK && info.host_tag == 77 && info.width_px > 0);
  CHECK(gf_job_image(engine, &job, 1, &image) == GF_OK && gf_image_describe(image, &image_info) == GF_OK);
  CHECK(image_info.width_px == info.width_px && image_info.seed == 12);
  CHECK(gf_job_image(engine, &job, 2, &early) == GF_ERR_NOT_FOUND && early == NULL);
  CHECK(gf_job_latents(engine, &job, 0, NULL, &count) == GF_OK && count > 0);
  READ_TEXT(text, gf_job_report_json(engine, &job, buffer, size_out));
  CHECK(strstr(text, "a red potion") != NULL);
  free(text);
  READ_TEXT(text, gf_job_parameters_text(engine, &job, 0, buffer, size_out));
  CHECK(strstr(text, "Steps: 2") != NULL);
  free(text);
  READ_TEXT(text, gf_job_error_json(engine, &job, buffer, size_out));
  CHECK(strcmp(text, "{}") == 0);
  free(text);
  READ_TEXT(text, gf_engine_statistics_json(engine, buffer, size_out));
  CHECK(text[0] == '{');
  free(text);

  while (gf_engine_wait_event(engine, 0, &event) == GF_OK) {
    if (event.host_tag != 77) continue;
    CHECK(event.job.high == job.high && event.job.low == job.low);
    accepted += event.type == GF_EVENT_ACCEPTED;
    started += event.type == GF_EVENT_STARTED;
    done += event.type == GF_EVENT_DONE;
  }
  CHECK(accepted == 1 && started == 1 && done == 1);
  CHECK(gf_engine_poll(engine, &event) == GF_ERR_WOULD_BLOCK);
  CHECK(gf_engine_poll_log(engine, &record, line, &size) == GF_OK && strchr(line, '\t') != NULL);

  CHECK(gf_job_cancel(engine, &job, GF_CANCEL_NOW) == GF_OK); /* Over: changes nothing. */
  CHECK(gf_job_forget(engine, &job) == GF_OK && gf_job_status(engine, &job, &info) == GF_ERR_NOT_FOUND);
  request.steps = 1000;
  CHECK(gf_engine_submit(engine, &request, &job) == GF_OK && gf_job_cancel(engine, &job, GF_CANCEL_NOW) == GF_OK);
  CHECK(gf_job_wait(engine, &job, 300000000, &info) == GF_OK && info.state == GF_JOB_CANCELLED &&
        info.status == GF_ERR_CANCELLED);

  request.sampler = "no such sampler";
  CHECK(gf_engine_submit(engine, &request, &job) == GF_ERR_UNSUPPORTED);
  request.sampler = NULL;
  request.steps = 100000;
  CHECK(gf_engine_submit(engine, &request, &job) == GF_ERR_INVALID_ARGUMENT);
  CHECK(gf_model_release(engine, model) == GF_OK);
  CHECK(gf_engine_close(engine, 60000000) == GF_OK);
  CHECK(gf_engine_close(engine, 0) == GF_ERR_INVALID_HANDLE && gf_engine_close(NULL, 0) == GF_OK);
  CHECK(gf_image_describe(image, &image_info) == GF_OK); /* An image outlives its engine. */
  CHECK(gf_image_release(image) == GF_OK);
  READ_TEXT(text, gf_doctor_json(&options, buffer, size_out));
  CHECK(strstr(text, "problems") != NULL);
  free(text);
}

static gf_status count_moments(void* user_data, const char* label, uint32_t direction, uint32_t moment) {
  int* calls = (int*)user_data;
  *calls += moment == GF_MIGRATION_BEFORE || moment == GF_MIGRATION_AFTER;
  return strcmp(label, "001_users") == 0 && direction != 0 ? GF_OK : GF_ERR_INTERNAL;
}

static void migrations(const char* folder) {
  static const char* const names[] = {"001_users.sql"};
  static const char* const texts[] = {
      "-- gameforge: variables: kind\n-- gameforge: up\nCREATE TABLE users (id ${kind});\n"
      "-- gameforge: down\nDROP TABLE users;\n"};
  static const char* const variable = "kind";
  static const char* const value = "INTEGER";
  gf_migrator_options options = GF_MIGRATOR_OPTIONS_INIT;
  gf_migration_goal goal = GF_MIGRATION_GOAL_INIT;
  gf_migrator_info info = GF_MIGRATOR_INFO_INIT;
  gf_migration_event event = GF_MIGRATION_EVENT_INIT;
  gf_migration_entry entry = GF_MIGRATION_ENTRY_INIT;
  gf_migrator* migrator = NULL;
  char url[1024];
  char line[1024];
  char* text;
  uint64_t size;
  int calls = 0;
  int ended = 0;
  snprintf(url, sizeof url, "sqlite:%s/host.db", folder);
  options.url = url;
  options.file_names = names;
  options.file_texts = texts;
  options.file_count = 1;
  options.variable_names = &variable;
  options.variable_values = &value;
  options.variable_count = 1;
  options.hook = count_moments;
  options.hook_user_data = &calls;
  CHECK(gf_migrator_open(&options, &migrator) == GF_OK);
  CHECK(gf_migrator_wait(migrator, 0, &info) == GF_ERR_WRONG_STATE);
  CHECK(gf_migrator_plan(migrator, NULL) == GF_OK);
  CHECK(gf_migrator_wait(migrator, 60000000, &info) == GF_OK && info.status == GF_OK && info.step_count == 1);
  CHECK(gf_migrator_prove(migrator, NULL, 0) == GF_OK);
  CHECK(gf_migrator_wait(migrator, 60000000, &info) == GF_OK && info.status == GF_OK && info.done_count == 1);
  CHECK(gf_migrator_apply(migrator, &goal) == GF_OK);
  CHECK(gf_migrator_wait(migrator, 60000000, &info) == GF_OK && info.status == GF_OK && info.done_count == 1);
  CHECK(info.work == GF_MIGRATOR_WORK_APPLY && info.running == 0 && calls == 2);
  for (size = sizeof line; gf_migrator_poll(migrator, &event, line, &size) == GF_OK; size = sizeof line) {
    ended += event.type == GF_MIGRATION_EVENT_ENDED && event.status == GF_OK;
  }
  CHECK(ended == 1);
  READ_TEXT(text, gf_migrator_report_json(migrator, buffer, size_out));
  CHECK(strstr(text, "001_users") != NULL);
  free(text);
  READ_TEXT(text, gf_migrator_error_json(migrator, buffer, size_out));
  CHECK(strcmp(text, "{}") == 0);
  free(text);
  CHECK(gf_migrator_status(migrator) == GF_OK);
  CHECK(gf_migrator_wait(migrator, 60000000, &info) == GF_OK && info.entry_count == 1 && info.highest_applied == 1);
  CHECK(gf_migrator_entry(migrator, 0, &entry) == GF_OK && entry.state == GF_MIGRATION_APPLIED && entry.version == 1);
  READ_TEXT(text, gf_migrator_entry_text(migrator, 0, GF_MIGRATION_TEXT_LABEL, buffer, size_out));
  CHECK(strcmp(text, "001_users") == 0);
  free(text);
  CHECK(gf_migrator_diff(migrator) == GF_OK);
  CHECK(gf_migrator_wait(migrator, 60000000, &info) == GF_OK && info.problem_count == 0);
  CHECK(gf_migrator_dump(migrator) == GF_OK && gf_migrator_wait(migrator, 60000000, &info) == GF_OK);
  CHECK(gf_migrator_repair(migrator, GF_MIGRATION_MARK_APPLIED, 1, NULL) == GF_OK);
  CHECK(gf_migrator_wait(migrator, 60000000, &info) == GF_OK && info.status == GF_ERR_WRONG_STATE);
  goal.kind = GF_MIGRATION_GOAL_ROLLBACK;
  goal.version = 1;
  CHECK(gf_migrator_apply(migrator, &goal) == GF_OK);
  CHECK(gf_migrator_wait(migrator, 60000000, &info) == GF_OK && info.status == GF_OK && calls == 4);
  CHECK(gf_migrator_cancel(migrator) == GF_OK); /* Nothing runs: it does nothing. */
  CHECK(gf_migrator_close(migrator, 60000000) == GF_OK);
  CHECK(gf_migrator_close(migrator, 0) == GF_ERR_INVALID_HANDLE && gf_migrator_close(NULL, 0) == GF_OK);
  READ_TEXT(text, gf_migration_create(folder, "add users", buffer, size_out));
  CHECK(strstr(text, "001_add_users.sql") != NULL);
  free(text);
}

int main(int count, char** words) {
  if (count != 5) {
    puts("usage: host MODEL-FOLDER MODEL BACKEND SCRATCH-FOLDER");
    return 2;
  }
  statuses_and_versions();
  ids();
  images(words[4]);
  latents(words[4]);
  configuration(words[4]);
  migrations(words[4]);
  generation(words[1], words[2], words[3]);
  if (failures == 0) puts("host: everything is as it was");
  return failures == 0 ? 0 : 1;
}
