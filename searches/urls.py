from django.urls import path

from searches import views

urlpatterns = [
    path("searches", views.Searches.as_view()),
    path("searches/<uuid:id>", views.OneSearch.as_view(), name="search"),
    path("searches/<uuid:id>/cancel", views.Cancel.as_view()),
    path("searches/<uuid:id>/results", views.Results.as_view()),
    path("searches/<uuid:id>/calls", views.Calls.as_view()),
    path("images", views.Images.as_view()),
    path("images/<uuid:id>", views.OneImage.as_view(), name="image"),
    path("sources", views.Sources.as_view()),
]
