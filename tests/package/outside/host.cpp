// A C++ host outside of the tree, on gameforge.hpp: the same as host.c.
#include <gameforge/gameforge.hpp>

#include <chrono>
#include <iostream>
#include <string>

int main(int count, char** words) {
  if (count != 3) return 2;
  const bool with_backend = std::string(words[1]) == "with-backend";
  try {
    gameforge::Options options;
    options.model_folders = {MODEL_FOLDER};
    gameforge::Engine engine(options);
    gameforge::Request request;
    request.model = "gameforge-tiles";
    request.prompt = "a red potion";
    request.steps = 2;
    const gameforge::JobId job = engine.submit(request);
    if (!engine.wait(job, std::chrono::seconds(300))) return 1;
    engine.image(job, 0).write_png(words[2]);
    std::cout << "version " << gameforge::version() << "\n";
    return with_backend ? 0 : 1;
  } catch (const gameforge::Error& error) {
    std::cout << error.name() << ": " << error.what() << "\n";
    return with_backend || error.status() != GF_ERR_BACKEND_MISSING ? 1 : 0;
  }
}
