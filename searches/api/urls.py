from django.urls import path

from accounts.web import path_converters  # noqa: F401  # registers <id:…>
from searches.api import views

urlpatterns = [
    path("searches", views.Searches.as_view()),
    path("searches/<id:id>", views.OneSearch.as_view(), name="search"),
    path("searches/<id:id>/cancel", views.Cancel.as_view()),
    path("searches/<id:id>/results", views.Results.as_view()),
    path("searches/<id:id>/calls", views.Calls.as_view()),
    path("images", views.Images.as_view()),
    path("images/<id:id>", views.OneImage.as_view(), name="image"),
    path("sources", views.Sources.as_view()),
]
