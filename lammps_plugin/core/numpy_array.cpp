#include "numpy_array.h"

namespace fitsnap_nn {

Buffer::Buffer(PyObject *object, int flags) {
  if (PyObject_GetBuffer(object, &view_, flags) != 0)
    throw PythonError();
}

PyRef empty_array(Py_ssize_t rows, int columns, const char *dtype) {
  const PyRef numpy = checked(PyImport_ImportModule("numpy"));
  if (columns == 1)
    return checked(PyObject_CallMethod(numpy.get(), "empty", "ns", rows, dtype));
  return checked(PyObject_CallMethod(numpy.get(), "empty", "(ni)s", rows, columns, dtype));
}

}    // namespace fitsnap_nn
