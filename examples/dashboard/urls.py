from django.urls import path

from examples.dashboard import views

app_name = "examples-dashboard"
urlpatterns = [path("", views.dashboard, name="dashboard"), path("measure/", views.measure, name="measure")]
