# gameforge_embed_migrations(<target> FOLDER <folder> NAME <name>)
#
# Compiles the .sql files of a folder into the target: <name>.hpp in its include path declares
# `std::span<const gf::migrate::EmbeddedFile> <name>()`. A file that is added or changed is seen at the next build.
function(gameforge_embed_migrations target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "FOLDER;NAME" "")
  file(GLOB files CONFIGURE_DEPENDS ${arg_FOLDER}/*.sql)
  list(SORT files)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/${arg_NAME})
  set(script ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/GameForgeEmbed.cmake)
  add_custom_command(
    OUTPUT ${out}/${arg_NAME}.cpp ${out}/${arg_NAME}.hpp
    COMMAND ${CMAKE_COMMAND} -DNAME=${arg_NAME} -DFOLDER=${arg_FOLDER} -DOUT=${out} -P ${script}
    DEPENDS ${files} ${script}
    VERBATIM)
  target_sources(${target} PRIVATE ${out}/${arg_NAME}.cpp ${out}/${arg_NAME}.hpp)
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${out}>)
endfunction()
