// Owning references to Python objects, and Python exceptions as C++ exceptions. The caller must hold the GIL, except in
// destructors: LAMMPS deletes styles without it, possibly after Python has been finalised.

#ifndef FITSNAP_NN_PYTHON_OBJECT_H
#define FITSNAP_NN_PYTHON_OBJECT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace fitsnap_nn {

// Holds the GIL. LAMMPS runs without it: start_python.cpp releases it, and Python's ctypes does when it calls LAMMPS.
class GilGuard {
 public:
  GilGuard() : state_(PyGILState_Ensure()) {}
  ~GilGuard() { PyGILState_Release(state_); }
  GilGuard(const GilGuard &) = delete;
  GilGuard &operator=(const GilGuard &) = delete;

 private:
  PyGILState_STATE state_;
};

// For destructors. After finalisation there is nothing to release, and PyGILState_Ensure would crash.
template <class Release> void with_lock_if_running(Release release) {
  if (!Py_IsInitialized())
    return;
  const GilGuard lock;
  release();
}

class PyRef {
 public:
  PyRef() = default;
  explicit PyRef(PyObject *owned) : object_(owned) {}
  PyRef(PyRef &&other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  PyRef &operator=(PyRef &&other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~PyRef() {
    if (object_)
      with_lock_if_running([this] { Py_DECREF(object_); });
  }

  PyObject *get() const { return object_; }
  PyObject *release() { return std::exchange(object_, nullptr); }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  PyObject *object_ = nullptr;
};

// The pending Python exception, which the constructor clears. what() is the traceback, preceded by its last line; for
// exceptions of fitsnap_nn, whose messages are written for users, it is the message alone.
class PythonError : public std::runtime_error {
 public:
  PythonError();
};

// Takes ownership of a new reference returned by the C API; throws PythonError if it is null.
PyRef checked(PyObject *owned);

// Attributes of an object; all throw PythonError.
double get_double(PyObject *object, const char *attribute);
std::string get_string(PyObject *object, const char *attribute);
std::vector<std::string> get_strings(PyObject *object, const char *attribute);
std::vector<int> get_integers(PyObject *object, const char *attribute);

}    // namespace fitsnap_nn

#endif
