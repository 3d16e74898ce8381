# Compiler flags as interface targets, so that nothing global but the standard is set.

add_library(gf_warnings INTERFACE)
add_library(gf::warnings ALIAS gf_warnings)
# -Wnon-virtual-dtor is for C++ alone. -Wrestrict of GCC 12 warns of std::string's own code (GCC bug 105651).
target_compile_options(gf_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow
  $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor> $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> $<$<BOOL:${GAMEFORGE_WERROR}>:-Werror>)

# An Error knows the function that made it (std::source_location), whose file's name would otherwise carry the folder of
# the machine that compiled it.
add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=>)

# Sanitizers must be in every object of a program, our static rooms and tests alike: the one flag that is global.
if(GAMEFORGE_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
  set(sanitizer_environment
    "ASAN_OPTIONS=strict_string_checks=1:detect_stack_use_after_return=1:strict_init_order=1:check_initialization_order=1"
    "UBSAN_OPTIONS=print_stacktrace=1"
    "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/cmake/lsan.supp:print_suppressions=0")
elseif(GAMEFORGE_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
  set(sanitizer_environment "TSAN_OPTIONS=second_deadlock_stack=1")
  if(EXISTS ${PROJECT_SOURCE_DIR}/cmake/tsan.supp)
    string(APPEND sanitizer_environment ":suppressions=${PROJECT_SOURCE_DIR}/cmake/tsan.supp")
  endif()
elseif(GAMEFORGE_SANITIZE)
  message(FATAL_ERROR "GAMEFORGE_SANITIZE is ${GAMEFORGE_SANITIZE}; it must be address, thread or empty")
endif()

if(sanitizer_environment AND GAMEFORGE_TESTS)
  # The options of the sanitizers for every test, however it is registered: ctest reads this file as a script and runs
  # the tests with the environment that it then has. What the caller has set comes later in the text, and so wins.
  set(script "")
  foreach(setting IN LISTS sanitizer_environment)
    string(REGEX MATCH "^[A-Z]+_OPTIONS" variable "${setting}")
    string(REPLACE "${variable}=" "" value "${setting}")
    string(APPEND script "set(ENV{${variable}} \"${value}:\$ENV{${variable}}\")\n")
  endforeach()
  file(WRITE ${PROJECT_BINARY_DIR}/sanitizer_environment.cmake "${script}")
  set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY TEST_INCLUDE_FILES ${PROJECT_BINARY_DIR}/sanitizer_environment.cmake)
endif()

find_program(GAMEFORGE_CCACHE ccache)
if(GAMEFORGE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # pch_defines,time_macros: ccache accepts precompiled headers only with these (ccache manual, "Precompiled headers").
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${GAMEFORGE_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
endif()
