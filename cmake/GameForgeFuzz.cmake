# Fuzzers: one function of libFuzzer's form, run in two ways.

# gf_add_fuzzer(<name> LINKS <room>... SOURCES <file under src/>... [LIBRARIES <archive>...])
#
# Called in tests/fuzz. <name>_fuzz.cpp there has LLVMFuzzerTestOneInput; corpus/<name>/ has the inputs that are kept, and
# <name>.dict, where it is there, the words that libFuzzer puts in.
#
# fuzz/<name>            the function with every input of the corpus and with mutations of them that are the same each time;
#                        by the build's own compiler, so under its sanitizers too
# fuzz/<name>/libfuzzer  ten seconds of libFuzzer, guided by what of SOURCES it reaches: those files are compiled by clang
#                        with -fsanitize=fuzzer,address,undefined
# fuzz/<name>/long       ten minutes of that, label fuzz-long
#
# Without clang and its runtime the last two are skipped with the reason. In a build with a sanitizer they are not there:
# they bring their own.
find_program(GAMEFORGE_FUZZ_CLANG NAMES clang++-19 clang++-18 clang++-17 clang++-16 clang++-15 clang++-14 clang++)
set(GAMEFORGE_FUZZ_FLAGS -std=c++20 -O1 -g1 -fno-omit-frame-pointer -fsanitize=fuzzer,address,undefined
  -fno-sanitize-recover=undefined)

# Sets GAMEFORGE_FUZZ_PROBLEM to why there is no libFuzzer, or to nothing.
function(gf_find_libfuzzer)
  set(problem "")
  if(NOT GAMEFORGE_FUZZ_CLANG)
    set(problem "there is no clang++ here")
  else()
    set(probe ${PROJECT_BINARY_DIR}/fuzz/probe.cpp)
    file(WRITE ${probe} "#include <cstddef>\n#include <cstdint>\n#include <string>\n"
      "extern \"C\" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {\n"
      "  return std::string(reinterpret_cast<const char*>(bytes), size) == \"never\";\n}\n")
    execute_process(COMMAND ${GAMEFORGE_FUZZ_CLANG} ${GAMEFORGE_FUZZ_FLAGS} -o ${PROJECT_BINARY_DIR}/fuzz/probe ${probe}
      RESULT_VARIABLE code OUTPUT_QUIET ERROR_QUIET)
    if(NOT code EQUAL 0)
      set(problem "${GAMEFORGE_FUZZ_CLANG} links no libFuzzer (Debian's libclang-rt-dev)")
    endif()
  endif()
  set(GAMEFORGE_FUZZ_PROBLEM "${problem}" PARENT_SCOPE)
endfunction()

# gf_fuzz_object(<output variable> <fuzzer's target> <file>): the file's object as clang makes it, once for all fuzzers.
function(gf_fuzz_object output target file)
  file(RELATIVE_PATH place ${PROJECT_SOURCE_DIR} ${file})
  set(object ${PROJECT_BINARY_DIR}/fuzz/${place}.o)
  get_property(known GLOBAL PROPERTY GAMEFORGE_FUZZ_OBJECTS)
  if(NOT object IN_LIST known)
    set_property(GLOBAL APPEND PROPERTY GAMEFORGE_FUZZ_OBJECTS ${object})
    get_filename_component(folder ${object} DIRECTORY)
    file(MAKE_DIRECTORY ${folder})
    # libstdc++ has no std::source_location for clang before 16.
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${GAMEFORGE_FUZZ_CLANG} ${GAMEFORGE_FUZZ_FLAGS} -fPIC
        -include ${PROJECT_SOURCE_DIR}/tests/checks/source_location.hpp
        "-I$<JOIN:$<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>,;-I>"
        "$<$<BOOL:$<TARGET_PROPERTY:${target},COMPILE_DEFINITIONS>>:-D$<JOIN:$<TARGET_PROPERTY:${target},COMPILE_DEFINITIONS>,;-D>>"
        -MD -MF ${object}.d -MT ${object} -c -o ${object} ${file}
      DEPENDS ${file} ${PROJECT_SOURCE_DIR}/tests/checks/source_location.hpp
      DEPFILE ${object}.d
      COMMENT "Building ${place} for libFuzzer"
      COMMAND_EXPAND_LISTS VERBATIM)
  endif()
  set(${output} ${object} PARENT_SCOPE)
endfunction()

function(gf_add_fuzzer name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LINKS;SOURCES;LIBRARIES")
  set(corpus ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name})
  set(dictionary "")
  if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${name}.dict)
    set(dictionary ${CMAKE_CURRENT_SOURCE_DIR}/${name}.dict)
  endif()
  add_executable(gameforge_fuzz_${name} ${name}_fuzz.cpp standalone.cpp)
  target_link_libraries(gameforge_fuzz_${name} PRIVATE ${arg_LINKS} gf::base gf::warnings)
  add_test(NAME fuzz/${name} COMMAND gameforge_fuzz_${name} 100000 1 ${corpus} ${dictionary})
  set_tests_properties(fuzz/${name} PROPERTIES LABELS fuzz TIMEOUT 600)
  if(GAMEFORGE_SANITIZE)
    return()
  endif()

  gf_find_libfuzzer()
  if(GAMEFORGE_FUZZ_PROBLEM)
    foreach(kind libfuzzer long)
      add_test(NAME fuzz/${name}/${kind}
        COMMAND ${CMAKE_COMMAND} -E echo "SKIP: ${GAMEFORGE_FUZZ_PROBLEM}")
      set_tests_properties(fuzz/${name}/${kind} PROPERTIES LABELS fuzz SKIP_REGULAR_EXPRESSION "^SKIP: ")
    endforeach()
    set_tests_properties(fuzz/${name}/long PROPERTIES LABELS fuzz-long)
    return()
  endif()

  set(objects "")
  foreach(file IN LISTS arg_SOURCES)
    gf_fuzz_object(object gameforge_fuzz_${name} ${PROJECT_SOURCE_DIR}/src/${file})
    list(APPEND objects ${object})
  endforeach()
  gf_fuzz_object(object gameforge_fuzz_${name} ${CMAKE_CURRENT_SOURCE_DIR}/${name}_fuzz.cpp)
  list(APPEND objects ${object})
  set(program ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/gameforge_libfuzzer_${name})
  add_custom_command(OUTPUT ${program}
    COMMAND ${GAMEFORGE_FUZZ_CLANG} ${GAMEFORGE_FUZZ_FLAGS} -o ${program} ${objects} ${arg_LIBRARIES} -lpthread -ldl
    DEPENDS ${objects} ${arg_LIBRARIES}
    COMMENT "Linking bin/gameforge_libfuzzer_${name}"
    VERBATIM)
  add_custom_target(gameforge_libfuzzer_${name} ALL DEPENDS ${program})

  if(dictionary)
    set(dictionary -dict=${dictionary})
  endif()
  # What it finds new stays in the build; the corpus of the tree is only read. To take over what is worth keeping:
  # gameforge_libfuzzer_NAME -merge=1 tests/fuzz/corpus/NAME build/P/fuzz/NAME
  set(found ${PROJECT_BINARY_DIR}/fuzz/${name})
  file(MAKE_DIRECTORY ${found}/new)
  set(run ${program} ${dictionary} -max_len=4096 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1
    -artifact_prefix=${found}/)
  add_test(NAME fuzz/${name}/libfuzzer COMMAND ${run} -seed=1 -max_total_time=10 ${found}/new ${corpus})
  set_tests_properties(fuzz/${name}/libfuzzer PROPERTIES LABELS fuzz TIMEOUT 300)
  add_test(NAME fuzz/${name}/long COMMAND ${run} -max_total_time=600 ${found}/new ${corpus})
  set_tests_properties(fuzz/${name}/long PROPERTIES LABELS fuzz-long TIMEOUT 900)
endfunction()
