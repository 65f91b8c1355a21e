# AX_CHECK_C17: add -std=gnu17 where the compiler does not start out there.
AC_DEFUN([AX_CHECK_C17], [
	AC_CACHE_CHECK([for the flag that gives GNU C17], [weft_cv_c17], [
		weft_save_CFLAGS=$CFLAGS
		CFLAGS="$CFLAGS -std=gnu17"
		AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
#if __STDC_VERSION__ < 201710L
#error older
#endif
		]], [])], [weft_cv_c17=-std=gnu17], [weft_cv_c17=no])
		CFLAGS=$weft_save_CFLAGS
	])
	AS_IF([test "x$weft_cv_c17" = xno], [AC_MSG_ERROR([a C17 compiler is needed (gcc 8 or clang 7, or later)])])
	CC="$CC $weft_cv_c17"
])
