from django.urls import path

from examples.feed import views

app_name = "examples-feed"
urlpatterns = [path("", views.feed, name="feed"), path("add/", views.add, name="add")]
