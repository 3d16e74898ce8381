/* A C host outside of the tree: draws one asset with the installed model, or learns that the backend is not installed.
 *
 * Usage: outside_c with-backend|without-backend PICTURE */
#include <gameforge/gameforge.h>

#include <stdio.h>
#include <string.h>

int main(int count, char** words) {
  const char* folder = MODEL_FOLDER;
  gf_engine_options options = GF_ENGINE_OPTIONS_INIT;
  gf_request request = GF_REQUEST_INIT;
  gf_engine* engine = NULL;
  gf_job_id job;
  gf_job_info info = GF_JOB_INFO_INIT;
  gf_image* image = NULL;
  gf_status status;
  if (count != 3) return 2;
  options.model_folders = &folder;
  options.model_folder_count = 1;
  request.model = "gameforge-tiles";
  request.prompt = "a red potion";
  request.steps = 2;
  if (gf_engine_open(&options, &engine) != GF_OK || gf_engine_submit(engine, &request, &job) != GF_OK ||
      gf_job_wait(engine, &job, 300000000, &info) != GF_OK) {
    puts(gf_last_error_message());
    return 1;
  }
  if (strcmp(words[1], "with-backend") == 0) {
    status = gf_job_image(engine, &job, 0, &image);
    if (status == GF_OK) status = gf_image_write_png(image, NULL, words[2]);
    if (status != GF_OK) puts(gf_last_error_message());
  } else {
    status = info.status == GF_ERR_BACKEND_MISSING ? GF_OK : GF_ERR_INTERNAL;
  }
  printf("version %s, job: %s\n", gf_version_text(), gf_status_name(info.status));
  gf_image_release(image);
  if (gf_engine_close(engine, 60000000) != GF_OK) return 1;
  return status == GF_OK ? 0 : 1;
}
