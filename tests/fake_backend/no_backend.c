/* A shared object that is no backend at all, only named like one. */
__attribute__((visibility("default"))) int gameforge_no_backend(void);
int gameforge_no_backend(void) { return 0; }
